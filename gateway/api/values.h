// SPDX-License-Identifier: Apache-2.0
/// \file  The values of a request: its query and its body. Internal to gateway/api/. Each is read by name; what is left over is
/// an error, as a word mistyped must not mean "all". All functions throw Problem.
#pragma once

#include "gateway/api/request.h"
#include "protocols/values/network.h"
#include "protocols/values/time.h"

#include <Poco/JSON/Object.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::api {

/// "?name=value&…". Of a name that may come once, a second is an error.
class QueryValues {
  public:
    explicit QueryValues(const Request& request) : query_(request.query) {}

    /// Empty is a value: `?from=` asks for the null sender.
    std::optional<std::string> text(std::string_view name);
    std::vector<std::string> texts(std::string_view name);
    std::optional<Network> network(std::string_view name);
    /// "true", "1" or nothing behind the name: yes.
    bool flag(std::string_view name);
    /// 1 to `most`.
    std::size_t limit(std::size_t otherwise, std::size_t most);
    std::optional<std::int64_t> number(std::string_view name);
    /// Seconds: 30m, 7d.
    std::optional<std::int64_t> span(std::string_view name);
    void rejectOthers() const;

  private:
    const std::vector<std::pair<std::string, std::string>>& query_;
    std::set<std::string, std::less<>> known_;
};

/// The one JSON object (RFC 8259) that `text` is, in UTF-8, with whole numbers of up to 18 digits; null where it is not, or
/// can be read in two ways: a name that comes twice.
Poco::JSON::Object::Ptr objectIn(const std::string& text);

/// A JSON object.
class BodyValues {
  public:
    /// Throws where there is a query as well: what has a body has its values there.
    explicit BodyValues(const Request& request);

    bool has(std::string_view name);  ///< null is there, too
    bool isNull(std::string_view name);
    std::optional<std::string> text(std::string_view name);
    /// An array of them; absent: empty.
    std::vector<std::string> texts(std::string_view name);
    /// An array of whole numbers; absent: empty.
    std::vector<std::int64_t> numbers(std::string_view name);
    bool flag(std::string_view name);
    std::optional<std::int64_t> number(std::string_view name);
    void rejectOthers() const;

  private:
    Poco::Dynamic::Var get(std::string_view name);

    Poco::JSON::Object::Ptr object_;
    std::set<std::string, std::less<>> known_;
};

/// Of what takes no members of a body, which may be absent, and of what takes no query either.
void rejectMembers(const Request& request);
void rejectValues(const Request& request);

Network networkValue(std::string_view name, const std::string& text);

}  // namespace mailgate::api
