// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/body.h"

#include "gateway/http/chunks.h"

#include <Poco/Buffer.h>
#include <Poco/Exception.h>
#include <Poco/Net/HTTPServerRequestImpl.h>
#include <Poco/Net/HTTPServerSession.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::http {

namespace {

namespace net = Poco::Net;

/// What comes behind the head.
class Incoming {
  public:
    Incoming(net::HTTPServerRequest& request, Server& server)
        : request_(static_cast<net::HTTPServerRequestImpl&>(request)), server_(server) {}

    static constexpr std::size_t kBlock = std::size_t{256} << 10;

    /// One byte at least, which are there until the next call; of what did not come with the head `most` at the most.
    std::string_view next(std::size_t most = kBlock) {
        if (!std::exchange(has_begun_, true)) {
            server_.restartPeerLimit();
            request_.session().drainBuffer(came_with_head_);
            if (came_with_head_.size() > 0) return {came_with_head_.begin(), came_with_head_.size()};
        }
        if (since_restart_ == kBlock) {
            since_restart_ = 0;
            server_.restartPeerLimit();
        }
        most = std::min(most, kBlock - since_restart_);
        if (block_.size() < most) block_.resize(most);
        int got = 0;
        try {
            got = request_.socket().receiveBytes(block_.data(), static_cast<int>(most));
        } catch (const Poco::TimeoutException&) {
            throw BodyError(408, "the rest of the request has not come");
        }
        if (got <= 0) throw BodyError(400, "the request ends before its body does");
        since_restart_ += static_cast<std::size_t>(got);
        return {block_.data(), static_cast<std::size_t>(got)};
    }

  private:
    net::HTTPServerRequestImpl& request_;
    Server& server_;
    Poco::Buffer<char> came_with_head_{0};
    std::vector<char> block_;
    std::size_t since_restart_ = 0;
    bool has_begun_ = false;
};

}  // namespace

std::string readBody(net::HTTPServerRequest& request, std::size_t most, Server& server) {
    std::string body;
    // Poco would read to the connection's end, which is the peer's to choose.
    if (!request.hasContentLength() && !request.getChunkedTransferEncoding()) return body;
    Incoming incoming(request, server);
    if (!request.getChunkedTransferEncoding()) {
        const auto wanted = std::min<std::size_t>(request.getContentLength64(), most + 1);
        body.reserve(std::min(wanted, Incoming::kBlock));
        while (body.size() < wanted)
            body += incoming.next(wanted - body.size()).substr(0, wanted - body.size());
        return body;
    }
    ChunkDecoder decoder;
    auto state = ChunkDecoder::State::Incomplete;
    while (state == ChunkDecoder::State::Incomplete && body.size() <= most)
        state = decoder.take(incoming.next(), body);
    if (state == ChunkDecoder::State::Malformed) throw BodyError(400, "the chunks of the body are malformed");
    body.resize(std::min(body.size(), most + 1));
    return body;
}

bool isBodyHere(const net::HTTPServerRequest& request) {
    if (request.getChunkedTransferEncoding() || request.has("Expect")) return false;
    constexpr Poco::Int64 kMost = Server::kMaxSmallBody;
    return !request.hasContentLength() ||
           (request.getContentLength64() >= 0 && request.getContentLength64() <= kMost);
}

}  // namespace mailgate::http
