// SPDX-License-Identifier: Apache-2.0
/// \file  A body that comes in chunks, to the letter (RFC 9112 7.1), but with no blanks around its sizes: who is in front of us may take anything else for another body.
/// Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mailgate::http {

class ChunkDecoder {
  public:
    static constexpr std::size_t kMostBeside = std::size_t{16}
                                               << 10;  ///< extensions and trailers, all of them

    enum class State : std::uint8_t { Incomplete, Complete, Malformed };
    /// Adds to `body` what of it is in `bytes`, which come behind those of the calls before.
    State take(std::string_view bytes, std::string& body);

  private:
    enum class At : std::uint8_t {
        Size,
        Extension,
        SizeEnd,
        Data,
        DataCr,
        DataEnd,
        Line,
        Trailer,
        TrailerEnd,
        End
    };

    State step(char c);
    State onSize(char c);
    State beside(char c, At end);

    At at_ = At::Size;
    std::size_t left_ = 0;  ///< of the chunk
    unsigned digits_ = 0;
    std::size_t beside_ = 0;
};

}  // namespace mailgate::http
