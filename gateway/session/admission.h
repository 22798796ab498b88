// SPDX-License-Identifier: Apache-2.0
/// \file  Whether a client may enter: access rules, then its limits, then whether there is room. All of it is known
/// at once, so it is a step, not a phase.
#pragma once

#include "gateway/session/next.h"
#include "gateway/session/session_context.h"

namespace mailgate {

/// Connect (after the TLS handshake, where there is one), or Refuse with the reason.
Next admit(SessionContext& context, const next::Admit& arrived);

}  // namespace mailgate
