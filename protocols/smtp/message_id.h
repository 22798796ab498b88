// SPDX-License-Identifier: Apache-2.0
/// \file  The Message-ID of a message (RFC 5322 3.6.4), read in passing from its header.
///
/// Looks at the header alone, and at no more of it than kMaxHeaderBytes; nothing of a message is kept but this field's
/// value, up to kMaxMessageIdBytes. Lines end in LF, with or without a CR before it; the field may be folded, and there
/// may be blanks before its colon (RFC 5322 4.5.4). Costs one memchr() a line of the header, and nothing behind it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mailgate::smtp {

class MessageIdReader {
  public:
    /// How the octets show the lines of the message.
    enum class Dots : std::uint8_t {
        Stuffed,   ///< after DATA: the first dot of a line is not its own (RFC 5321 4.5.2)
        AsTheyAre  ///< in a BDAT
    };

    /// A new message begins. What was read of the last one is forgotten.
    void start(Dots dots) noexcept;
    /// The next bytes of it. Throws std::bad_alloc.
    void read(std::string_view bytes);
    /// What has been read, without < and >; empty: none, or not yet. Forgets it.
    std::string take();

  private:
    enum class Reading : std::uint8_t {
        LineStart,
        Dot,      ///< after the dot of a line that is none of its own
        Name,     ///< of a field that may be the one
        Colon,    ///< behind that name
        Another,  ///< the name of another field
        Rest,     ///< of a line that does not matter
        Value,
        Over
    };

    void readByte(char byte);
    void beginLine(char first);
    std::string_view skip(std::string_view bytes);
    std::string_view keep(std::string_view bytes);

    std::string value_;  ///< the field's body as it came, unfolded
    std::size_t seen_ = 0;
    Reading reading_ = Reading::Over;
    Dots dots_ = Dots::Stuffed;
    std::uint8_t matched_ = 0;  ///< of the field's name
    bool has_value_ = false;  ///< of the field that is wanted; a line that begins with a blank belongs to it
};

}  // namespace mailgate::smtp
