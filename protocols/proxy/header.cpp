// SPDX-License-Identifier: Apache-2.0
#include "protocols/proxy/header.h"

namespace mailgate::proxy {

std::string_view toString(Reason reason) noexcept {
    switch (reason) {
        case Reason::NotProxy:
            return "not_proxy";
        case Reason::BadV1:
            return "bad_v1";
        case Reason::V1TooLong:
            return "v1_too_long";
        case Reason::BadVersion:
            return "bad_version";
        case Reason::BadCommand:
            return "bad_command";
        case Reason::BadFamily:
            return "bad_family";
        case Reason::UnsupportedFamily:
            return "unsupported_family";
        case Reason::BadLength:
            return "bad_length";
        case Reason::TooLong:
            return "too_long";
        case Reason::BadTlv:
            return "bad_tlv";
        case Reason::BadChecksum:
            return "bad_checksum";
    }
    return {};
}

std::string_view describe(Reason reason) noexcept {
    switch (reason) {
        case Reason::NotProxy:
            return "the connection does not begin with a PROXY protocol header";
        case Reason::BadV1:
            return "the PROXY v1 line is malformed";
        case Reason::V1TooLong:
            return "the PROXY v1 line does not end within 107 bytes";
        case Reason::BadVersion:
            return "the binary PROXY header is of a version other than 2";
        case Reason::BadCommand:
            return "the PROXY v2 command is neither LOCAL nor PROXY";
        case Reason::BadFamily:
            return "the PROXY v2 address family or transport is undefined";
        case Reason::UnsupportedFamily:
            return "the PROXY v2 header is for UDP or a Unix socket, not for TCP";
        case Reason::BadLength:
            return "the PROXY v2 header is too short for the addresses that it announces";
        case Reason::TooLong:
            return "the PROXY v2 header announces more than 4096 bytes";
        case Reason::BadTlv:
            return "a PROXY v2 extension (TLV) is malformed or overruns the header";
        case Reason::BadChecksum:
            return "the PROXY v2 checksum (CRC32C) is wrong";
    }
    return {};
}

}  // namespace mailgate::proxy
