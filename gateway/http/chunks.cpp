// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/chunks.h"

#include <algorithm>

namespace mailgate::http {

namespace {

/// -1: it is none.
int hexValue(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    const int letter = c | 0x20;
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

}  // namespace

ChunkDecoder::State ChunkDecoder::take(std::string_view bytes, std::string& body) {
    while (!bytes.empty()) {
        if (at_ == At::Data) {
            const std::size_t here = std::min(left_, bytes.size());
            body.append(bytes.substr(0, here));
            bytes.remove_prefix(here);
            left_ -= here;
            if (left_ == 0) at_ = At::DataCr;
            continue;
        }
        const State state = step(bytes.front());
        bytes.remove_prefix(1);
        if (state != State::Incomplete) return state;
    }
    return State::Incomplete;
}

ChunkDecoder::State ChunkDecoder::step(char c) {
    const auto expect = [&](char wanted, At next) {
        at_ = next;
        return c == wanted ? State::Incomplete : State::Malformed;
    };
    switch (at_) {
        case At::Size:
            return onSize(c);
        case At::Extension:
            return beside(c, At::SizeEnd);
        case At::SizeEnd:
            digits_ = 0;
            return expect('\n', left_ > 0 ? At::Data : At::Line);
        case At::DataCr:
            return expect('\r', At::DataEnd);
        case At::DataEnd:
            return expect('\n', At::Size);
        case At::Line:
            if (c == '\r') return expect('\r', At::End);
            at_ = At::Trailer;
            return beside(c, At::TrailerEnd);
        case At::Trailer:
            return beside(c, At::TrailerEnd);
        case At::TrailerEnd:
            return expect('\n', At::Line);
        case At::End:
            return c == '\n' ? State::Complete : State::Malformed;
        case At::Data:
            break;
    }
    return State::Malformed;
}

ChunkDecoder::State ChunkDecoder::onSize(char c) {
    constexpr unsigned kMostDigits = 15;
    if (const int digit = hexValue(c); digit >= 0) {
        left_ = left_ << 4 | static_cast<std::size_t>(digit);
        return ++digits_ <= kMostDigits ? State::Incomplete : State::Malformed;
    }
    if (digits_ == 0) return State::Malformed;
    at_ = At::Extension;
    return c == ';' || c == '\r' ? beside(c, At::SizeEnd) : State::Malformed;
}

/// Of an extension or a trailer, which are thrown away: up to its line's end.
ChunkDecoder::State ChunkDecoder::beside(char c, At end) {
    if (c == '\r')
        at_ = end;
    else if (c == '\n' || c == '\0' || ++beside_ > kMostBeside)
        return State::Malformed;
    return State::Incomplete;
}

}  // namespace mailgate::http
