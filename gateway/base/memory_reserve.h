// SPDX-License-Identifier: Apache-2.0
/// \file  Memory set aside, so that work under way can go on when memory runs out.
///
/// An allocation that fails gets a part of the reserve and is tried again. When it is low, the listeners make new
/// clients wait until enough has been set aside again. It is never touched, so it costs only address space.
#pragma once

namespace mailgate::memory_reserve {

/// Sets it aside, for operator new in all threads. Once is enough.
void install() noexcept;

/// To be called by threads that carry sessions: the last part of the reserve is not for them, since sessions can be
/// ended one by one, but for the other threads, which cannot do without memory.
void leaveTheLastToOthers() noexcept;

/// Half of it has been given away. Any thread.
bool low() noexcept;

/// Sets aside again what has been given away. Returns whether there was memory for most of it. Any thread.
bool refill() noexcept;

}  // namespace mailgate::memory_reserve
