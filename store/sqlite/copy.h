// SPDX-License-Identifier: Apache-2.0
/// \file  A database as a whole: copied while others write to it, looked through, and taken out of use. Internal to store/.
#pragma once

#include "store/sqlite/database.h"
#include "store/store_error.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace mailgate::store::sqlite {

/// `done` of `total` pages. What it throws ends the work, and is thrown on.
using CopyProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

/// Makes `to`, which must not exist, the state that `from` has at one moment, and brings it to the disk. Others may go
/// on writing; their write-ahead log grows meanwhile. Throws StoreError: DiskFull when there is no room for the copy, Open
/// when there is nothing to copy.
void copyDatabase(const std::string& from, const std::string& to, const CopyProgress& progress);

/// A copy of its present state, in memory.
std::unique_ptr<Database> copyInMemory(Database& source);

/// To read what is there. Where there is nothing it is an empty database in memory, and where SQLite cannot write what it
/// keeps beside the file (a full disk, a file of somebody else's) a copy in memory, if there is no log that it would
/// lack. Throws StoreError as Database does.
std::unique_ptr<Database> openToRead(const std::string& path, const OpenOptions& options);

/// Reads all of it. Throws StoreError(Damaged) unless it is sound. Nobody else may use the file.
void verifyDatabase(const std::string& path, const CopyProgress& progress);

/// Likewise, for so long at most, and others may use it: the order of its pages and rows. False: there was no time for all of it.
bool verifyWithin(const std::string& path, const OpenOptions& options, std::chrono::milliseconds at_most);

/// Makes the file of the database all that there is of it: without a write-ahead log beside it. Throws StoreError(Locked)
/// while anybody else has it open. No file is none that is in use.
void releaseDatabase(const std::string& path);

}  // namespace mailgate::store::sqlite
