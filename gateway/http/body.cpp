// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/body.h"

#include "gateway/http/chunks.h"

#include <Poco/Buffer.h>
#include <Poco/Exception.h>
#include <Poco/Net/HTTPServerRequestImpl.h>
#include <Poco/Net/HTTPServerSession.h>

#include <algorithm>
#include <chrono>
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
        : request_(static_cast<net::HTTPServerRequestImpl&>(request)), server_(server) {
        server_.suspendPeerLimit();  // who is beyond the limits here is told so
    }
    Incoming(const Incoming&) = delete;
    Incoming& operator=(const Incoming&) = delete;
    ~Incoming() { server_.restartPeerLimit(); }

    /// One byte at least, which are there until the next call; of what did not come with the head `most` at the most.
    std::string_view next(std::size_t most = kBodyBlock) {
        if (!std::exchange(has_begun_, true)) {
            request_.session().drainBuffer(came_with_head_);
            if (came_with_head_.size() > 0) return {came_with_head_.begin(), came_with_head_.size()};
            // HTTP/1.0 does not know the answer (RFC 9110 10.1.1).
            if (request_.getExpectContinue() && request_.getVersion() == net::HTTPMessage::HTTP_1_1)
                request_.response().sendContinue();
        }
        if (of_block_ == kBodyBlock) {
            of_block_ = 0;
            block_until_ = Server::Clock::now() + Server::kPeerLimit;
        }
        most = std::min(most, kBodyBlock - of_block_);
        if (block_.size() < most) block_.resize(most);
        const int got = receive(most);
        if (got <= 0) throw BodyError(400, Server::kBodyCutShort);
        of_block_ += static_cast<std::size_t>(got);
        return {block_.data(), static_cast<std::size_t>(got)};
    }

  private:
    int receive(std::size_t most) {
        using std::chrono::microseconds;
        constexpr microseconds kPause = Server::kPauseLimit;
        const auto left =
            std::chrono::duration_cast<microseconds>(std::min(block_until_, until_) - Server::Clock::now());
        try {
            if (left <= microseconds::zero()) throw Poco::TimeoutException();
            request_.socket().setReceiveTimeout(std::min(left, kPause).count());
            return request_.socket().receiveBytes(block_.data(), static_cast<int>(most));
        } catch (const Poco::TimeoutException&) {
            throw BodyError(408, Server::kBodyLate);
        }
    }

    net::HTTPServerRequestImpl& request_;
    Server& server_;
    Poco::Buffer<char> came_with_head_{0};
    std::vector<char> block_;
    std::size_t of_block_ = 0;
    Server::Clock::time_point block_until_ = Server::Clock::now() + Server::kPeerLimit;
    const Server::Clock::time_point until_ = Server::Clock::now() + kBodyLimit;
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
        body.reserve(std::min(wanted, kBodyBlock));
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
