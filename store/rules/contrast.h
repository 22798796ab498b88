// SPDX-License-Identifier: Apache-2.0
/// \file  Whom two states of the rules decide about differently.
#pragma once

#include "store/rules/service.h"
#include "store/rules/table.h"

#include <memory>
#include <optional>
#include <string_view>

namespace mailgate::rules {

class Contrast {
  public:
    /// Tables for the listeners of the site, in its order. `site` must outlive it. Decisions are those of the time
    /// `now`.
    Contrast(const Site& site, std::shared_ptr<const store::AccessTable> before,
             std::shared_ptr<const store::AccessTable> after, UnixSeconds now);

    /// Whether the client may enter now, where that has changed; none: as before, or no listener has that name.
    std::optional<bool> decidesNow(const AddressBytes& client, std::string_view listener) const;

  private:
    bool allows(const store::AccessTable& table, const AddressBytes& client, std::size_t listener) const;

    const Site& site_;
    const std::shared_ptr<const store::AccessTable> before_, after_;
    const UnixSeconds now_;
};

}  // namespace mailgate::rules
