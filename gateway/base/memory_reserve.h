// SPDX-License-Identifier: Apache-2.0
/// \file  Memory put aside, so that what is under way can go on when there is no more.
///
/// An allocation that fails gets a part of the reserve and is tried again. Once it is low the listeners let
/// new clients wait, until enough of it could be put aside once more. It is never touched: it costs address
/// space alone.
#pragma once

namespace mailgate::memory_reserve {

/// Puts it aside, for operator new in all threads. Once is enough.
void install() noexcept;

/// The calling thread carries sessions. The last of the reserve is not for them, which can be ended one by
/// one, but for the other threads, which cannot.
void leaveTheLastToOthers() noexcept;

/// Half of it has been given away. Any thread.
bool low() noexcept;

/// Puts aside what had been given away; whether there was memory for most of it. Any thread.
bool refill() noexcept;

}  // namespace mailgate::memory_reserve
