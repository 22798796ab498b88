// SPDX-License-Identifier: Apache-2.0
/// \file  What other programs call what mailgate has: administrators write it as they know it from HAProxy, Postfix or Dovecot. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mailgate::cli {

/// Among the commands `names` of one group: what is meant by `word`; empty: nothing is known of it. It may be nearer to its
/// opposite ("del" to "deny").
std::string meantAmong(std::string_view word, const std::vector<std::string>& names);

/// What is meant by `word` where the first command should be, as words behind mailgate; empty: nothing is known of it.
std::string meantFirst(std::string_view word);

/// Among the options `names`, and the commands among them, as words that begin with one of them; empty: nothing is known of it.
std::string meantOption(std::string_view word, const std::vector<std::string>& names);

}  // namespace mailgate::cli
