// SPDX-License-Identifier: Apache-2.0
#include "store/replace_file.h"

#include "store/store_error.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace mailgate::store {

namespace {

class OpenFile {
  public:
    OpenFile(const char* path, int flags) : handle_(::open(path, flags | O_CLOEXEC, 0640)) {}
    ~OpenFile() {
        if (handle_ >= 0) ::close(handle_);
    }
    OpenFile(const OpenFile&) = delete;
    OpenFile& operator=(const OpenFile&) = delete;

    bool isOpen() const noexcept { return handle_ >= 0; }
    bool write(std::string_view text) const {
        const ssize_t written = ::write(handle_, text.data(), text.size());
        if (written >= 0 && static_cast<std::size_t>(written) < text.size()) errno = ENOSPC;
        return written == static_cast<ssize_t>(text.size());
    }
    bool sync() const { return ::fsync(handle_) == 0; }

  private:
    const int handle_;
};

[[noreturn]] void failToReplace(const std::string& path, const char* what) {
    throw StoreError(StoreError::Kind::Other, path + ": " + what + ": " + std::strerror(errno));
}

}  // namespace

void replaceFile(const std::string& path, std::string_view text) {
    const std::string next = path + ".new";
    {
        const OpenFile file(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW);
        if (!file.isOpen()) failToReplace(next, "cannot be written");
        if (!file.write(text) || !file.sync()) {
            const int error = errno;
            ::unlink(next.c_str());
            errno = error;
            failToReplace(next, "cannot be written");
        }
    }
    if (::rename(next.c_str(), path.c_str()) != 0) failToReplace(path, "cannot be replaced");
    const auto folder = std::filesystem::path(path).parent_path();
    const OpenFile opened(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY);
    if (!opened.isOpen() || !opened.sync()) failToReplace(path, "its folder cannot be brought to the disk");
}

}  // namespace mailgate::store
