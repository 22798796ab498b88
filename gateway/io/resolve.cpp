// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/resolve.h"

#include "gateway/base/signals_blocked.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace mailgate {
namespace {

// In the whole process, also those that nobody waits for any more: mute name servers keep their threads, and
// reloads must not add up. The names behind those wait no longer than the patience.
constexpr unsigned kMaxLookups = 16;
std::atomic<unsigned> lookups_under_way{0};

/// One of kMaxLookups, or not.
class Place {
  public:
    Place() noexcept : taken_(lookups_under_way.fetch_add(1) < kMaxLookups) {}
    ~Place() { lookups_under_way.fetch_sub(1); }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    bool taken() const noexcept { return taken_; }

  private:
    bool taken_;
};

/// Shared with the threads, which may outlive everybody else in getaddrinfo.
struct Lookups {
    Lookups(const std::vector<std::string>& asked, Resolver with)
        : hosts(asked), resolve(std::move(with)), answers(asked.size(), {{}, "no answer in time"}) {}

    const std::vector<std::string> hosts;
    const Resolver resolve;
    std::mutex mutex;
    std::condition_variable_any answered;
    std::size_t next = 0;  ///< to be looked up
    std::size_t open = 0;  ///< not answered yet
    bool over = false;     ///< nobody waits any more
    std::vector<Resolution> answers;
};

void lookUp(const std::shared_ptr<Lookups>& lookups, const std::shared_ptr<const Place>&) {
    std::unique_lock lock(lookups->mutex);
    while (!lookups->over && lookups->next < lookups->hosts.size()) {
        const std::size_t at = lookups->next++;
        lock.unlock();
        Resolution answer = lookups->resolve(lookups->hosts[at]);
        lock.lock();
        if (lookups->over) return;
        lookups->answers[at] = std::move(answer);
        if (--lookups->open == 0) lookups->answered.notify_all();
    }
}

}  // namespace

Resolution resolveHost(const std::string& host) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
    if (error != 0) return {{}, error == EAI_SYSTEM ? std::strerror(errno) : ::gai_strerror(error)};
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, ::freeaddrinfo);
    Resolution resolution{{}, "it has no address"};
    for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
        IpAddress address;
        if (entry->ai_family == AF_INET) {
            std::array<std::uint8_t, 4> octets{};
            std::memcpy(octets.data(), &reinterpret_cast<const sockaddr_in*>(entry->ai_addr)->sin_addr,
                        octets.size());
            address = IpAddress::fromV4(octets);
        } else if (entry->ai_family == AF_INET6) {
            std::memcpy(address.bytes.data(),
                        &reinterpret_cast<const sockaddr_in6*>(entry->ai_addr)->sin6_addr,
                        address.bytes.size());
        } else {
            continue;
        }
        auto& found = resolution.addresses;
        if (std::find(found.begin(), found.end(), address) == found.end()) found.push_back(address);
    }
    return resolution;
}

std::vector<Resolution> resolveAll(const std::vector<std::string>& hosts, const Resolver& resolve,
                                   std::chrono::milliseconds patience, const std::stop_token& stop) {
    const auto lookups = std::make_shared<Lookups>(hosts, resolve);
    lookups->open = hosts.size();
    std::size_t threads = 0;
    try {
        const SignalsBlocked blocked;
        for (; threads < hosts.size(); ++threads) {
            auto place = std::make_shared<const Place>();
            if (!place->taken()) break;
            std::thread(lookUp, lookups, std::move(place)).detach();
        }
    } catch (const std::system_error&) {
        // Those that did start take the names of the others; without any, the NameWatcher has them all.
    }
    std::unique_lock lock(lookups->mutex);
    if (threads > 0) lookups->answered.wait_for(lock, stop, patience, [&] { return lookups->open == 0; });
    lookups->over = true;
    return std::move(lookups->answers);
}

}  // namespace mailgate
