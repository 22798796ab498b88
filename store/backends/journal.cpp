// SPDX-License-Identifier: Apache-2.0
#include "store/backends/journal.h"

#include "protocols/values/text.h"
#include "store/journal/sqlite/reader.h"
#include "store/journal/sqlite/schema.h"
#include "store/journal/sqlite/spool.h"
#include "store/journal/sqlite/writer.h"
#include "store/store_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace mailgate::store::journal {

namespace {

struct Backend {
    std::string_view scheme;
    std::string_view form;  ///< of its URLs, for people
    std::unique_ptr<Sink> (*sink)(const JournalOptions& options);
    void (*inspect)(const std::string& url);
    bool (*verify)(const std::string& url, std::chrono::milliseconds at_most);
    std::unique_ptr<Source> (*source)(const std::string& url, std::function<void()> look);
    std::unique_ptr<Spool> (*spool)(const std::string& url, bool masked);
};

constexpr std::array<Backend, 1> kBackends{
    {{"sqlite:", "sqlite:PATH",
      [](const JournalOptions& options) -> std::unique_ptr<Sink> {
          return std::make_unique<Writer>(options);
      },
      inspect, verifyWithin,
      [](const std::string& url, std::function<void()> look) -> std::unique_ptr<Source> {
          return std::make_unique<Reader>(url, std::move(look));
      },
      [](const std::string& url, bool masked) -> std::unique_ptr<Spool> {
          return std::make_unique<SpoolReader>(url, masked);
      }}}};

const Backend& backendOf(const std::string& url) {
    const auto* const found = std::find_if(kBackends.begin(), kBackends.end(), [&](const Backend& backend) {
        return url.starts_with(backend.scheme);
    });
    if (found != kBackends.end()) return *found;
    std::string forms;
    for (const Backend& backend : kBackends)
        forms.append(forms.empty() ? "" : " or ").append(backend.form);
    throw StoreError(StoreError::Kind::BadInput,
                     fmt::format("\"{}\": the URL of a journal is {}", printable(url), forms));
}

}  // namespace

std::unique_ptr<Sink> openSink(const JournalOptions& options) {
    return backendOf(options.url).sink(options);
}

void inspectSink(const std::string& url) {
    backendOf(url).inspect(url);
}

bool verifySink(const std::string& url, std::chrono::milliseconds at_most) {
    return backendOf(url).verify(url, at_most);
}

std::unique_ptr<Source> openSource(const std::string& url, std::function<void()> look) {
    return backendOf(url).source(url, std::move(look));
}

std::unique_ptr<Spool> openSpool(const std::string& url, bool masked) {
    return backendOf(url).spool(url, masked);
}

}  // namespace mailgate::store::journal
