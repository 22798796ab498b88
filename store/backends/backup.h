// SPDX-License-Identifier: Apache-2.0
/// \file  Copies of whole databases, by URL.
#pragma once

#include "store/store_error.h"

#include <cstdint>
#include <functional>
#include <string>

namespace mailgate::store {

/// `done` of `total`, in a unit of the database's; 0 of 0: it goes on. What it throws ends the work, and is thrown on.
using BackupProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

/// Whether there is a database at `url` to be copied. Throws StoreError as opening it would.
bool hasDatabase(const std::string& url);

/// Makes the file `to` the state that the database has at one moment, while others use it. Throws StoreError.
void copyTo(const std::string& url, const std::string& to, const BackupProgress& progress);

/// Throws StoreError(Damaged) unless the copy is whole and sound.
void verifyCopy(const std::string& file, const BackupProgress& progress);

/// Throw StoreError unless the copy holds that, in a form that this version can read: NewerSchema, Open or Damaged.
void requireRules(const std::string& file);
void requireJournal(const std::string& file);

/// The file of the database at `url`, which nobody uses: all that there is of it. Throws StoreError(Locked) while somebody does.
std::string takeOutOfUse(const std::string& url);

}  // namespace mailgate::store
