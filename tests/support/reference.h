// SPDX-License-Identifier: Apache-2.0
/// \file  Parts of documents that tables in the code make: a test compares them, or writes them when the
/// environment has WRITE_REFERENCE.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace mailgate {

inline const std::filesystem::path kSourceFolder = MAILGATE_SOURCE_DIR;

inline std::string readAll(const std::filesystem::path& file) {
    std::ifstream stream(file);
    return {std::istreambuf_iterator<char>(stream), {}};
}

/// The lines of a document between the one that starts with `begin` and the one that is `end` are to be `wanted`.
inline void expectReference(const std::string& document, const std::string& begin, const std::string& end,
                            const std::string& wanted) {
    const std::filesystem::path file = kSourceFolder / document;
    const std::string text = readAll(file);
    const std::size_t mark = text.find("\n" + begin);
    ASSERT_NE(mark, std::string::npos) << file << ": no line " << begin;
    const std::size_t from = text.find('\n', mark + 1) + 1;
    const std::size_t to = text.find("\n" + end + "\n", from - 1);
    ASSERT_NE(to, std::string::npos) << file << ": no line " << end;
    if (std::getenv("WRITE_REFERENCE") != nullptr)
        std::ofstream(file) << text.substr(0, from) << wanted << text.substr(to + 1);
    else
        EXPECT_EQ(text.substr(from, to + 1 - from), wanted)
            << file << ": run this test with WRITE_REFERENCE=1";
}

}  // namespace mailgate
