// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/lineage.h"

#include "store/store_error.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

namespace mailgate::store {

namespace {

/// A database that comes back from a backup knows one of the earlier ones.
constexpr std::size_t kRemembered = 200;

[[noreturn]] void failFile(const std::string& file) {
    throw StoreError(StoreError::Kind::Other, fmt::format("{}: {}", file, std::strerror(errno)));
}

void writeWhole(const std::string& file, const std::string& text) {
    struct Close {
        void operator()(std::FILE* open) const noexcept { std::fclose(open); }
    };
    const int handle = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (handle < 0) failFile(file);
    const std::unique_ptr<std::FILE, Close> out(::fdopen(handle, "w"));
    if (!out) failFile(file);
    if (std::fwrite(text.data(), 1, text.size(), out.get()) != text.size() || std::fflush(out.get()) != 0 ||
        ::fsync(handle) != 0)
        failFile(file);
}

/// A new name is on the disk once its folder is.
void syncFolderOf(const std::string& file) {
    const std::string folder = std::filesystem::path(file).parent_path().string();
    const int handle = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (handle < 0) failFile(file);
    const bool is_synced = ::fsync(handle) == 0;
    ::close(handle);
    if (!is_synced) failFile(file);
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
    const std::string fresh = file_ + "-new";
    writeWhole(fresh, text);
    if (std::rename(fresh.c_str(), file_.c_str()) != 0) failFile(file_);
    syncFolderOf(file_);
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
