// SPDX-License-Identifier: Apache-2.0
/// \file  A switch over a variant: std::visit() with a function for each alternative, all of which must be there.
#pragma once

namespace mailgate {

template <typename... Cases>
struct Overloaded : Cases... {
    using Cases::operator()...;
};
template <typename... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

}  // namespace mailgate
