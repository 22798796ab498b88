// SPDX-License-Identifier: Apache-2.0
/// \file  Where in the configuration's files stands what is used only after they have been read.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate {

/// No part of what the configuration says: whoever has moved a line has changed nothing.
class Places {
  public:
    /// `of`: a key, or the file that it names; `place`: "FILE:LINE:COLUMN".
    void add(std::string of, std::string place) { places_.emplace_back(std::move(of), std::move(place)); }

    /// "FILE:LINE:COLUMN: " of what `message` begins with; empty where that is unknown.
    std::string before(std::string_view message) const {
        const auto found = std::find_if(places_.begin(), places_.end(), [&](const auto& each) {
            return message.starts_with(each.first) && message.substr(each.first.size()).starts_with(':');
        });
        return found == places_.end() ? std::string() : found->second + ": ";
    }

    friend bool operator==(const Places&, const Places&) noexcept { return true; }

  private:
    std::vector<std::pair<std::string, std::string>> places_;
};

}  // namespace mailgate
