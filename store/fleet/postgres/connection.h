// SPDX-License-Identifier: Apache-2.0
/// \file  A connection to PostgreSQL by libpq's asynchronous functions, each answer of which has a deadline: a server that is
/// frozen would block the others for ever, keepalives notwithstanding. Internal to store/. One thread at a time.
#pragma once

#include "store/fleet/postgres/conninfo.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct pg_conn;
struct pg_result;

namespace mailgate::store::postgres {

using Deadline = std::chrono::steady_clock::time_point;

/// Wakes whoever waits for a server, from another thread; for good.
class Interrupt {
  public:
    Interrupt();
    ~Interrupt();
    Interrupt(const Interrupt&) = delete;
    Interrupt& operator=(const Interrupt&) = delete;

    void raise() noexcept;
    int fd() const noexcept { return fd_; }

  private:
    int fd_;
};

/// Rows of an answer; numbers and texts as the query gives them.
class Rows {
  public:
    explicit Rows(std::shared_ptr<pg_result> result) : result_(std::move(result)) {}

    std::size_t size() const noexcept;
    bool isNull(std::size_t row, int column) const noexcept;
    std::string text(std::size_t row, int column) const;
    std::string_view view(std::size_t row, int column) const noexcept;  ///< as long as these rows
    std::int64_t number(std::size_t row, int column) const;
    std::optional<std::int64_t> optionalNumber(std::size_t row, int column) const;

  private:
    std::shared_ptr<pg_result> result_;
};

class Connection {
  public:
    /// To the first of the servers that answers. Throws StoreError(Open).
    Connection(const Conninfo& info, Deadline deadline, const Interrupt& interrupt);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// Throws StoreError; after one that the server has not sent the connection is broken(). BadRow: the server cannot have
    /// these values.
    Rows query(const std::string& sql, const std::vector<std::string>& parameters, Deadline deadline);
    /// Of one or more statements without parameters; the last one's rows.
    Rows run(const std::string& script, Deadline deadline);
    /// Of what nobody waits for: what fails is thrown by whatever is asked next.
    void runUnheard(const std::string& script, Deadline deadline);
    /// COPY … FROM STDIN of lines in the text format. `patience`: for each step.
    void copy(const std::string& sql, std::string_view lines, std::chrono::milliseconds patience);

    /// Until there is a notification, or that time. True: there was one.
    bool awaitNotification(Deadline deadline);
    bool broken() const noexcept { return broken_; }
    /// Between questions: the server, or what is in between, may have closed it meanwhile.
    bool hasEnded();
    /// In words of the server: "15.18 (Debian …)".
    std::string serverVersion() const;

  private:
    void connect(const Conninfo::Host& host, const std::string& address, Deadline deadline);
    /// Throws StoreError when the time is over, or when it was interrupted.
    void await(short events, Deadline deadline);
    bool awaitQuietly(short events, Deadline deadline);
    void cancel() noexcept;
    void flush(Deadline deadline);
    pg_result* nextResult(Deadline deadline);
    std::shared_ptr<pg_result> results(Deadline deadline);
    void send(const std::string& script, Deadline deadline);
    void hear(Deadline deadline);
    void requireSent(int sent);
    [[noreturn]] void fail(const std::string& why);
    [[noreturn]] void failConnection();
    [[noreturn]] void refused(const pg_result* result);
    bool takeNotifications();

    const Conninfo& info_;
    const Interrupt& interrupt_;
    std::unique_ptr<pg_conn, void (*)(pg_conn*)> handle_;
    bool broken_ = false;
    bool committing_ = false;  ///< what was sent last is to commit
    bool unheard_ = false;     ///< and its answer is still to come
};

/// A line of COPY's text format is made of these, with tabs between.
std::string copyField(std::string_view text);
std::string copyField(const std::optional<std::int64_t>& number);

}  // namespace mailgate::store::postgres
