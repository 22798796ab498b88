// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/body.h"

#include <algorithm>
#include <istream>

namespace mailgate::http {

std::string readBody(Poco::Net::HTTPServerRequest& request, std::size_t most, Server& server) {
    constexpr std::size_t kBlock = std::size_t{256} << 10;
    std::string body;
    // Poco would read to the connection's end, which is the peer's to choose.
    if (!request.hasContentLength() && !request.getChunkedTransferEncoding()) return body;
    std::istream& stream = request.stream();
    while (stream && body.size() <= most) {
        server.restartPeerLimit();
        const std::size_t before = body.size();
        body.resize(std::min(before + kBlock, most + 1));
        stream.read(body.data() + before, static_cast<std::streamsize>(body.size() - before));
        body.resize(before + static_cast<std::size_t>(stream.gcount()));
    }
    return body;
}

bool isBodyHere(const Poco::Net::HTTPServerRequest& request) {
    if (request.getChunkedTransferEncoding() || request.has("Expect")) return false;
    constexpr Poco::Int64 kMost = Server::kMaxSmallBody;
    return !request.hasContentLength() ||
           (request.getContentLength64() >= 0 && request.getContentLength64() <= kMost);
}

}  // namespace mailgate::http
