// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/postgres/connection.h"

#include "protocols/values/text.h"
#include "store/store_error.h"

#include <fmt/format.h>
#include <libpq-fe.h>

#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <cstring>
#include <future>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

namespace mailgate::store::postgres {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using Kind = StoreError::Kind;

/// What libpq says has lines; a sentence of ours is one.
std::string oneLine(const char* message) {
    std::string line;
    for (const char character : std::string_view(message == nullptr ? "" : message))
        line += character == '\n' ? ' ' : character;
    while (!line.empty() && line.back() == ' ')
        line.pop_back();
    constexpr std::size_t kLongest = 500;
    return printable(line, kLongest);
}

/// Of an SQLSTATE (PostgreSQL's manual, appendix A).
Kind kindOf(std::string_view state) {
    // Others were in the way: of a lock, of two that wait for each other, of what may not be done at once.
    if (state == "55P03" || state == "40P01" || state == "40001") return Kind::Locked;
    // Values that are none of their type, or too large for an index.
    if (state.starts_with("22") || state.starts_with("54")) return Kind::BadRow;
    return Kind::Other;
}

int millisUntil(Deadline deadline) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now()).count();
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000));
}

/// getaddrinfo() cannot be told how long to take: it runs on a thread that outlives whoever has no more time for it.
struct Lookup {
    Lookup() {
        constexpr int kMost = 16;
        if (++running > kMost) {
            --running;
            throw StoreError(Kind::Open, "the name servers do not answer");
        }
    }
    ~Lookup() { --running; }
    Lookup(const Lookup&) = delete;
    Lookup& operator=(const Lookup&) = delete;

    static inline std::atomic<int> running{0};
    std::mutex mutex;
    std::condition_variable done;
    bool finished = false;
    std::string error;
    std::vector<std::string> addresses;
};

std::vector<std::string> numericAddresses(const addrinfo* found) {
    std::vector<std::string> addresses;
    for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
        char text[NI_MAXHOST];
        if (::getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0)
            addresses.emplace_back(text);
    }
    return addresses;
}

void lookUp(Lookup& lookup, const std::string& name) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int error = ::getaddrinfo(name.c_str(), nullptr, &hints, &found);
    const std::lock_guard lock(lookup.mutex);
    if (error != 0) {
        lookup.error = ::gai_strerror(error);
    } else {
        lookup.addresses = numericAddresses(found);
        ::freeaddrinfo(found);
    }
    lookup.finished = true;
    lookup.done.notify_all();
}

std::vector<std::string> addressesOf(const std::string& name, Deadline deadline) {
    const auto lookup = std::make_shared<Lookup>();
    try {
        std::thread([lookup, name] { lookUp(*lookup, name); }).detach();
    } catch (const std::system_error& error) {
        throw StoreError(Kind::Open,
                         fmt::format("the name {} cannot be resolved: {}", printable(name), error.what()));
    }
    std::unique_lock lock(lookup->mutex);
    if (!lookup->done.wait_until(lock, deadline, [&] { return lookup->finished; }))
        throw StoreError(Kind::Open, fmt::format("the name {} was not resolved in time", printable(name)));
    if (!lookup->error.empty())
        throw StoreError(Kind::Open,
                         fmt::format("the name {} cannot be resolved: {}", printable(name), lookup->error));
    return lookup->addresses;
}

struct Try {
    const Conninfo::Host* host;
    std::string address;
};

/// In the order in which they are asked. A name that cannot be resolved is `why`, unless another one can.
std::vector<Try> triesOf(const Conninfo& info, Deadline deadline, std::string& why) {
    std::vector<Try> tries;
    for (const Conninfo::Host& host : info.hosts) {
        if (host.isSocket() || !host.address.empty()) {
            tries.push_back({&host, host.address});
            continue;
        }
        try {
            for (std::string& address : addressesOf(host.name, deadline))
                tries.push_back({&host, std::move(address)});
        } catch (const StoreError& error) {
            why = error.what();
        }
    }
    return tries;
}

}  // namespace

Interrupt::Interrupt() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (fd_ < 0) throw StoreError(Kind::Other, fmt::format("eventfd: {}", std::strerror(errno)));
}

Interrupt::~Interrupt() {
    ::close(fd_);
}

void Interrupt::raise() noexcept {
    ::eventfd_write(fd_, 1);
}

std::size_t Rows::size() const noexcept {
    return static_cast<std::size_t>(PQntuples(result_.get()));
}

bool Rows::isNull(std::size_t row, int column) const noexcept {
    return PQgetisnull(result_.get(), static_cast<int>(row), column) == 1;
}

std::string_view Rows::view(std::size_t row, int column) const noexcept {
    const int at = static_cast<int>(row);
    return {PQgetvalue(result_.get(), at, column),
            static_cast<std::size_t>(PQgetlength(result_.get(), at, column))};
}

std::string Rows::text(std::size_t row, int column) const {
    return std::string(view(row, column));
}

std::int64_t Rows::number(std::size_t row, int column) const {
    const std::string_view value = view(row, column);
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size())
        throw StoreError(Kind::BadRow,
                         fmt::format("the fleet's database: \"{}\" is no number", printable(value)));
    return number;
}

std::optional<std::int64_t> Rows::optionalNumber(std::size_t row, int column) const {
    if (isNull(row, column)) return std::nullopt;
    return number(row, column);
}

Connection::Connection(const Conninfo& info, Deadline deadline, const Interrupt& interrupt)
    : info_(info), interrupt_(interrupt), handle_(nullptr, PQfinish) {
    std::string why;
    const auto tries = triesOf(info, deadline, why);
    for (std::size_t at = 0; at < tries.size(); ++at) {
        const auto now = steady_clock::now();
        // Each gets its share of the time: one that does not answer must not take that of the others.
        const auto share = (deadline - now) / static_cast<std::int64_t>(tries.size() - at);
        try {
            connect(*tries[at].host, tries[at].address, now + share);
            return;
        } catch (const StoreError& error) {
            handle_.reset();
            why = error.what();
        }
    }
    throw StoreError(Kind::Open,
                     fmt::format("the fleet's database {} cannot be reached: {}", info.shown, why));
}

Connection::~Connection() = default;

void Connection::connect(const Conninfo::Host& host, const std::string& address, Deadline deadline) {
    std::vector<const char*> keywords, values;
    const auto add = [&](const char* keyword, const std::string& value) {
        if (value.empty()) return;
        keywords.push_back(keyword);
        values.push_back(value.c_str());
    };
    for (const auto& [keyword, value] : info_.options)
        add(keyword.c_str(), value);
    add("host", host.name);
    add("hostaddr", address);
    add("port", host.port);
    // It says so on standard error, at each try.
    const std::string file = info_.passwordFile();
    const bool is_refused = isRefusedPasswordFile(file);
    if (is_refused) add("passfile", "/nonexistent");
    keywords.push_back(nullptr);
    values.push_back(nullptr);
    handle_.reset(PQconnectStartParams(keywords.data(), values.data(), 0));
    if (!handle_) throw std::bad_alloc();
    PQsetNoticeProcessor(
        handle_.get(), [](void*, const char*) {}, nullptr);  // which would go to standard error
    PostgresPollingStatusType next =
        PQstatus(handle_.get()) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
    while (next == PGRES_POLLING_READING || next == PGRES_POLLING_WRITING) {
        const short events = next == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (!awaitQuietly(events, deadline)) throw StoreError(Kind::Open, "it does not answer");
        next = PQconnectPoll(handle_.get());
    }
    if (next != PGRES_POLLING_OK) {
        std::string why = info_.withoutPassword(oneLine(PQerrorMessage(handle_.get())));
        if (is_refused && PQconnectionNeedsPassword(handle_.get()) != 0)
            why += fmt::format(" ({} is not used, as not its owner alone may read it: chmod 600)",
                               printable(file));
        throw StoreError(Kind::Open, why);
    }
    PQsetnonblocking(handle_.get(), 1);
}

/// False: the time is over.
bool Connection::awaitQuietly(short events, Deadline deadline) {
    pollfd fds[2] = {{PQsocket(handle_.get()), events, 0}, {interrupt_.fd(), POLLIN, 0}};
    while (true) {
        const int ready = ::poll(fds, 2, millisUntil(deadline));
        if (ready < 0 && errno != EINTR) fail(fmt::format("poll: {}", std::strerror(errno)));
        if (fds[1].revents != 0 && ready > 0) fail("interrupted");
        if (ready > 0) return true;
        if (ready == 0) return false;
    }
}

/// Whoever waits for a lock does not see that nobody waits for the answer any more: the server's process would stay, and the next try's
/// beside it, until no more are let in. PQcancel() cannot be told how long to take: it runs on a thread that may outlive this.
void Connection::cancel() noexcept {
    constexpr milliseconds kPatience{200};
    constexpr int kMost = 16;
    static std::atomic<int> running{0};
    try {
        const std::shared_ptr<PGcancel> order(PQgetCancel(handle_.get()), PQfreeCancel);
        if (!order || running >= kMost) return;
        const auto sent = std::make_shared<std::promise<void>>();
        const std::future<void> done = sent->get_future();
        std::thread([order, sent] {
            ++running;
            char why[256];
            PQcancel(order.get(), why, sizeof why);
            --running;
            sent->set_value();
        }).detach();
        done.wait_for(kPatience);
    } catch (const std::exception&) {
        // No memory, or no more threads: it stays until the lock is let go of.
    }
}

void Connection::await(short events, Deadline deadline) {
    if (awaitQuietly(events, deadline)) return;
    // What may have been committed is not known to whoever asked; that it would be taken back by chance helps nobody.
    if (!committing_) cancel();
    fail("the server does not answer");
}

void Connection::fail(const std::string& why) {
    broken_ = true;
    throw StoreError(Kind::Open, fmt::format("the fleet's database {}: {}", info_.shown, why));
}

void Connection::failConnection() {
    fail(info_.withoutPassword(oneLine(PQerrorMessage(handle_.get()))));
}

/// The server's own words, with what helps.
void Connection::refused(const pg_result* result) {
    const auto field = [&](int code) {
        const char* text = PQresultErrorField(result, code);
        return std::string(text == nullptr ? "" : text);
    };
    const std::string state = field(PG_DIAG_SQLSTATE);
    std::string message = field(PG_DIAG_MESSAGE_PRIMARY);
    if (message.empty()) message = PQresultErrorMessage(result);
    std::string what = info_.withoutPassword(oneLine(message.c_str()));
    if (state == "42501") what += ": mailgate fleet migrate --grant gives a role what it needs";
    if (state == "3F000" || state == "42P01") what += ": mailgate fleet migrate makes the tables";
    if (state == "55P03") what = "somebody else holds what is needed, and did not let go of it in time";
    if (state == "57014") what = "the answer takes too long";
    if (PQstatus(handle_.get()) == CONNECTION_BAD) broken_ = true;
    throw StoreError(broken_ ? Kind::Open : kindOf(state),
                     fmt::format("the fleet's database {}: {}", info_.shown, what));
}

void Connection::requireSent(int sent) {
    if (sent != 1) failConnection();
}

void Connection::flush(Deadline deadline) {
    while (true) {
        const int left = PQflush(handle_.get());
        if (left == 0) return;
        if (left < 0) failConnection();
        await(POLLIN | POLLOUT, deadline);
        if (PQconsumeInput(handle_.get()) == 0) failConnection();
    }
}

/// Who sends is not frozen: with everything that comes, the time begins anew.
pg_result* Connection::nextResult(Deadline deadline) {
    const auto patience = deadline - steady_clock::now();
    while (PQisBusy(handle_.get()) != 0) {
        await(POLLIN, deadline);
        if (PQconsumeInput(handle_.get()) == 0) failConnection();
        deadline = steady_clock::now() + patience;
    }
    return PQgetResult(handle_.get());
}

/// The last one of what was asked; an error among them is thrown, once all have come.
std::shared_ptr<pg_result> Connection::results(Deadline deadline) {
    std::shared_ptr<pg_result> last, bad;
    while (pg_result* const result = nextResult(deadline)) {
        std::shared_ptr<pg_result> one(result, PQclear);
        const ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_COPY_IN) return one;
        if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE) bad = bad ? bad : one;
        last = one;
    }
    if (bad) refused(bad.get());
    if (!last) failConnection();
    return last;
}

Rows Connection::query(const std::string& sql, const std::vector<std::string>& parameters,
                       Deadline deadline) {
    hear(deadline);
    committing_ = false;
    std::vector<const char*> values;
    values.reserve(parameters.size());
    for (const std::string& parameter : parameters)
        values.push_back(parameter.c_str());
    requireSent(PQsendQueryParams(handle_.get(), sql.c_str(), static_cast<int>(values.size()), nullptr,
                                  values.data(), nullptr, nullptr, 0));
    flush(deadline);
    return Rows(results(deadline));
}

void Connection::send(const std::string& script, Deadline deadline) {
    hear(deadline);
    committing_ = script == "COMMIT";
    requireSent(PQsendQuery(handle_.get(), script.c_str()));
    flush(deadline);
}

void Connection::hear(Deadline deadline) {
    if (std::exchange(unheard_, false)) results(deadline);
}

Rows Connection::run(const std::string& script, Deadline deadline) {
    send(script, deadline);
    return Rows(results(deadline));
}

void Connection::runUnheard(const std::string& script, Deadline deadline) {
    send(script, deadline);
    unheard_ = true;
}

void Connection::copy(const std::string& sql, std::string_view lines, milliseconds patience) {
    constexpr std::size_t kBlock = 65'536;
    const auto soon = [&] { return steady_clock::now() + patience; };
    run(sql, soon());
    while (!lines.empty()) {
        const std::string_view block = lines.substr(0, kBlock);
        const int taken = PQputCopyData(handle_.get(), block.data(), static_cast<int>(block.size()));
        if (taken < 0) failConnection();
        if (taken == 1) lines.remove_prefix(block.size());
        flush(soon());
    }
    int ended = 0;
    while ((ended = PQputCopyEnd(handle_.get(), nullptr)) == 0)
        flush(soon());
    if (ended < 0) failConnection();
    flush(soon());
    results(soon());
}

bool Connection::takeNotifications() {
    bool any = false;
    while (PGnotify* const one = PQnotifies(handle_.get())) {
        any = true;
        PQfreemem(one);
    }
    return any;
}

bool Connection::awaitNotification(Deadline deadline) {
    while (!takeNotifications()) {
        if (!awaitQuietly(POLLIN, deadline)) return false;
        if (PQconsumeInput(handle_.get()) == 0) failConnection();
    }
    return true;
}

bool Connection::hasEnded() {
    constexpr int kMostPieces = 10;  // the server's last words, and the end
    pollfd readable{PQsocket(handle_.get()), POLLIN, 0};
    for (int piece = 0; !broken_ && piece<kMostPieces&& ::poll(&readable, 1, 0)> 0; ++piece)
        broken_ = PQconsumeInput(handle_.get()) == 0;
    return broken_;
}

std::string Connection::serverVersion() const {
    const char* version = PQparameterStatus(handle_.get(), "server_version");
    return version == nullptr ? "" : version;
}

std::string copyField(std::string_view text) {
    std::string field;
    field.reserve(text.size());
    for (const char character : text) {
        switch (character) {
            case '\\':
                field += "\\\\";
                break;
            case '\t':
                field += "\\t";
                break;
            case '\n':
                field += "\\n";
                break;
            case '\r':
                field += "\\r";
                break;
            default:
                field += character;
        }
    }
    return field;
}

std::string copyField(const std::optional<std::int64_t>& number) {
    return number ? fmt::to_string(*number) : "\\N";
}

}  // namespace mailgate::store::postgres
