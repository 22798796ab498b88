// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/lineage.h"

#include "store/replace_file.h"
#include "store/store_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>

namespace mailgate::store {

namespace {

/// A database that comes back from a backup knows one of the earlier ones.
constexpr std::size_t kRemembered = 200;

[[noreturn]] void failFile(const std::string& file) {
    throw StoreError(StoreError::Kind::Other, fmt::format("{}: {}", file, std::strerror(errno)));
}

std::ptrdiff_t placeOf(const std::vector<std::string>& lineage, const std::string& process) noexcept {
    const auto found = std::find(lineage.begin(), lineage.end(), process);
    return found == lineage.end() ? -1 : found - lineage.begin();
}

}  // namespace

std::vector<std::string> Lineage::processes() const {
    if (file_.empty()) return unkept_;
    std::vector<std::string> processes;
    std::ifstream in(file_);
    for (std::string line; std::getline(in, line);)
        if (!line.empty()) processes.push_back(line);
    if (in.bad()) failFile(file_);
    return processes;
}

void Lineage::add(const std::string& process) {
    std::vector<std::string> processes = this->processes();
    if (!processes.empty() && processes.back() == process) return;
    std::erase(processes, process);
    processes.push_back(process);
    if (file_.empty()) {
        unkept_ = std::move(processes);
        return;
    }
    if (processes.size() > kRemembered)
        processes.erase(processes.begin(), processes.end() - static_cast<std::ptrdiff_t>(kRemembered));
    std::string text;
    for (const std::string& one : processes)
        text += one + '\n';
    replaceFile(file_, text);
}

Claim claimOf(const JournalWriter& writer, const std::string& process,
              const std::vector<std::string>& lineage) noexcept {
    if (writer.process == process) return Claim::Held;
    const bool is_last = !lineage.empty() && lineage.back() == process;
    if (!is_last && placeOf(lineage, process) >= 0) return Claim::Retired;
    const std::ptrdiff_t place = placeOf(lineage, writer.process);
    if (place < 0) return is_last && placeOf(writer.lineage, process) >= 0 ? Claim::TakenBack : Claim::None;
    // One before whom we know it to have been: it has taken back what was its own, and we are the copy.
    return placeOf(lineage, writer.inherited) > place ? Claim::None : Claim::Inherited;
}

}  // namespace mailgate::store
