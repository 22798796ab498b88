// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/load/sink.h"

#include "tests/bench/load/proxy_header.h"
#include "tests/bench/load/script.h"

#include <fmt/format.h>

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <memory>
#include <unordered_map>
#include <vector>

namespace mailgate::load {

namespace {

using namespace std::string_view_literals;

constexpr std::size_t kLongestLine = 64 * 1024;
constexpr std::size_t kBulkBlock = 256 * 1024;

struct Counts {
    std::uint64_t connections = 0;
    std::uint64_t with_client = 0;     ///< header with an original client address
    std::uint64_t with_loopback = 0;   ///< header, but the client address was lost
    std::uint64_t local = 0;           ///< health checks
    std::uint64_t without_header = 0;  ///< closed without an answer
    std::uint64_t messages = 0;
    std::uint64_t finished = 0;  ///< ended by QUIT or LOGOUT
};

/// What one line of the client leads to.
struct Answer {
    std::string text;
    std::uint64_t bulk = 0;  ///< octets of a literal after the text
    std::string after_bulk;
    bool close = false;
};

class Dialogue {
  public:
    virtual ~Dialogue() = default;
    virtual std::string_view greeting() const = 0;
    /// `line` is without its line end.
    virtual void onLine(std::string_view line, Counts& counts, Answer& answer) = 0;
};

class SmtpDialogue : public Dialogue {
  public:
    std::string_view greeting() const override { return "220 sink.example ESMTP\r\n"; }

    void onLine(std::string_view line, Counts& counts, Answer& answer) override {
        if (in_data_) return onDataLine(line, counts, answer);
        std::string verb(line.substr(0, 4));
        std::transform(verb.begin(), verb.end(), verb.begin(),
                       [](unsigned char c) { return std::toupper(c); });
        if (verb == "EHLO"sv)
            answer.text =
                "250-sink.example\r\n250-SIZE 10240000\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n";
        else if (verb == "MAIL"sv || verb == "HELO"sv || verb == "NOOP"sv || verb == "RSET"sv)
            answer.text = "250 2.0.0 Ok\r\n";
        else if (verb == "RCPT"sv)
            answer.text = "250 2.1.5 Ok\r\n";
        else if (verb == "DATA"sv)
            in_data_ = (answer.text = "354 End data with <CR><LF>.<CR><LF>\r\n", true);
        else if (verb == "QUIT"sv)
            answer = {"221 2.0.0 Bye\r\n", 0, {}, true};
        else
            answer.text = "502 5.5.2 Error: command not recognized\r\n";
    }

  private:
    void onDataLine(std::string_view line, Counts& counts, Answer& answer) {
        if (line != "."sv) return;
        in_data_ = false;
        answer.text = fmt::format("250 2.0.0 Ok: queued as {:011X}\r\n", ++counts.messages);
    }

    bool in_data_ = false;
};

class ImapDialogue : public Dialogue {
  public:
    std::string_view greeting() const override { return "* OK [CAPABILITY IMAP4rev1 IDLE] sink ready\r\n"; }

    void onLine(std::string_view line, Counts&, Answer& answer) override {
        if (line == "DONE"sv) {
            answer.text = fmt::format("{} OK Idle completed.\r\n", idle_tag_);
            return;
        }
        // A gateway that logs in itself may do so with literals; none of them has a line end in it.
        held_ += line;
        if (literalSize(line))
            answer.text = "+ OK\r\n";
        else
            onCommand(std::exchange(held_, {}), answer);
    }

  private:
    void onCommand(std::string_view line, Answer& answer) {
        const std::size_t space = line.find(' ');
        const std::string_view tag = line.substr(0, space);
        const std::string_view command = space == line.npos ? ""sv : line.substr(space + 1);
        if (command.starts_with("FETCH "))
            onFetch(tag, command, answer);
        else if (command == "IDLE"sv)
            idle_tag_ = tag, answer.text = "+ idling\r\n";
        else if (command == "LOGOUT"sv)
            answer = {fmt::format("* BYE Logging out\r\n{} OK Logout completed.\r\n", tag), 0, {}, true};
        else if (command.starts_with("LOGIN ") || command.starts_with("SELECT ") || command == "NOOP"sv)
            answer.text = fmt::format("{} OK Completed.\r\n", tag);
        else
            answer.text = fmt::format("{} BAD Error in IMAP command.\r\n", tag);
    }

    /// "FETCH 1 BODY.PEEK[]<0.SIZE>": as many octets as the client asks for.
    void onFetch(std::string_view tag, std::string_view command, Answer& answer) const {
        const std::size_t range = command.find("<0.");
        if (range == command.npos ||
            std::from_chars(command.data() + range + 3, command.data() + command.size(), answer.bulk).ec !=
                std::errc{}) {
            answer.text = fmt::format("{} BAD Only partial fetches.\r\n", tag);
            return;
        }
        answer.text = fmt::format("* 1 FETCH (BODY[]<0> {{{}}}\r\n", answer.bulk);
        answer.after_bulk = fmt::format(")\r\n{} OK Fetch completed.\r\n", tag);
    }

    std::string held_;  ///< of a command whose literals are still to come
    std::string idle_tag_;
};

class Sink;

/// One connection of a gateway.
class Peer : public Handler {
  public:
    Peer(Sink& sink, Descriptor socket, std::unique_ptr<Dialogue> dialogue)
        : sink_(sink), socket_(std::move(socket)), dialogue_(std::move(dialogue)) {}

    void onReady(std::uint32_t events) override;
    const Descriptor& socket() const { return socket_; }

  private:
    bool read();
    bool takeHeader();
    bool takeLines();
    bool flush();
    bool sendSome(std::string_view& bytes);
    bool isSending() const {
        return !output_.text.empty() || output_.bulk > 0 || !output_.after_bulk.empty();
    }

    Sink& sink_;
    Descriptor socket_;
    std::unique_ptr<Dialogue> dialogue_;
    std::string input_;
    Answer output_;
    bool header_taken_ = false;
    bool at_end_ = false;  ///< the gateway will send no more
};

class Sink : public Handler {
  public:
    Sink(SinkProtocol protocol, const Endpoint& endpoint);

    void run();
    void onReady(std::uint32_t events) override;
    void closePeer(Peer& peer);
    Counts& counts() { return counts_; }

  private:
    struct Stop : Handler {
        void onReady(std::uint32_t) override { requested = true; }
        bool requested = false;
    };

    std::unique_ptr<Dialogue> newDialogue() const;

    SinkProtocol protocol_;
    EventLoop loop_;
    Descriptor listener_;
    Descriptor signals_;
    Stop stop_;
    Counts counts_;
    std::unordered_map<Peer*, std::unique_ptr<Peer>> peers_;
    std::vector<std::unique_ptr<Peer>>
        closed_;  ///< destroyed between batches: a Peer closes itself in its own callback
};

void Peer::onReady(std::uint32_t events) {
    const bool may_read = events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    const bool alive = (!may_read || read()) && takeHeader() && flush() && takeLines();
    if (!alive || (at_end_ && !isSending())) sink_.closePeer(*this);
}

/// False: the connection is broken.
bool Peer::read() {
    static std::array<char, 64 * 1024> buffer;
    while (!at_end_) {
        const ssize_t count = recv(socket_.number(), buffer.data(), buffer.size(), 0);
        if (count < 0) return errno == EAGAIN;
        input_.append(buffer.data(), count);
        at_end_ = count == 0;
    }
    return true;
}

bool Peer::takeHeader() {
    if (header_taken_) return true;
    const HeaderFound found = findProxyHeader(input_);
    if (found.kind == HeaderKind::Incomplete && !at_end_) return true;
    Counts& counts = sink_.counts();
    if (found.kind == HeaderKind::Incomplete || found.kind == HeaderKind::Invalid) {
        // A connection that closes without a byte is a connect-only health check.
        ++(input_.empty() ? counts.local : counts.without_header);
        return false;
    }
    ++(found.kind == HeaderKind::Client     ? counts.with_client
       : found.kind == HeaderKind::Loopback ? counts.with_loopback
                                            : counts.local);
    header_taken_ = true;
    input_.erase(0, found.length);
    output_.text = dialogue_->greeting();
    return true;
}

bool Peer::takeLines() {
    std::size_t start = 0;
    while (header_taken_ && !isSending()) {
        const std::size_t end = input_.find('\n', start);
        if (end == input_.npos) break;
        std::string_view line = std::string_view(input_).substr(start, end - start);
        line.remove_suffix(line.ends_with('\r') ? 1 : 0);
        dialogue_->onLine(line, sink_.counts(), output_);
        start = end + 1;
        if (!flush()) return false;
    }
    input_.erase(0, start);
    return input_.size() <= kLongestLine;
}

/// Sends what the socket takes. False: broken, or everything was said.
bool Peer::flush() {
    static const std::string block(kBulkBlock, 'x');
    std::string_view text = output_.text;
    if (!sendSome(text)) return false;
    output_.text.erase(0, output_.text.size() - text.size());
    while (output_.text.empty() && output_.bulk > 0) {
        const std::string_view whole =
            std::string_view(block).substr(0, std::min<std::uint64_t>(output_.bulk, kBulkBlock));
        std::string_view piece = whole;
        if (!sendSome(piece)) return false;
        output_.bulk -= whole.size() - piece.size();
        if (!piece.empty()) return true;
    }
    if (output_.text.empty() && !output_.after_bulk.empty()) {
        output_.text = std::exchange(output_.after_bulk, {});
        return flush();
    }
    if (!output_.close || isSending()) return true;
    ++sink_.counts().finished;
    return false;
}

bool Peer::sendSome(std::string_view& bytes) {
    while (!bytes.empty()) {
        const ssize_t count = send(socket_.number(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (count < 0) return errno == EAGAIN;
        bytes.remove_prefix(count);
    }
    return true;
}

Sink::Sink(SinkProtocol protocol, const Endpoint& endpoint)
    : protocol_(protocol), listener_(listenOn(endpoint)) {
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    check(sigprocmask(SIG_BLOCK, &ending, nullptr), "sigprocmask");
    signals_ = Descriptor(check(signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK), "signalfd"));
    loop_.watch(signals_, stop_, EPOLLIN);
    loop_.watch(listener_, *this, EPOLLIN);
}

void Sink::run() {
    fmt::print("{{\"listening\": \"{}\"}}\n", Endpoint::ofSocket(listener_).toString());
    std::fflush(stdout);
    while (!stop_.requested) {
        loop_.runOnce(std::chrono::hours(1));
        closed_.clear();
    }
    fmt::print(
        "{{\"connections\": {}, \"with_client\": {}, \"with_loopback\": {}, \"local\": {}, "
        "\"without_header\": {}, \"messages\": {}, \"finished\": {}, \"open\": {}}}\n",
        counts_.connections, counts_.with_client, counts_.with_loopback, counts_.local,
        counts_.without_header, counts_.messages, counts_.finished, peers_.size());
}

void Sink::onReady(std::uint32_t) {
    for (;;) {
        Descriptor socket(accept4(listener_.number(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!socket.isOpen() && (errno == EAGAIN || errno == ECONNABORTED)) return;
        check(socket.number(), "accept4");
        ++counts_.connections;
        auto peer = std::make_unique<Peer>(*this, std::move(socket), newDialogue());
        loop_.watch(peer->socket(), *peer, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
        Peer* const key = peer.get();
        peers_.emplace(key, std::move(peer));
    }
}

void Sink::closePeer(Peer& peer) {
    const auto found = peers_.find(&peer);
    closed_.push_back(std::move(found->second));
    peers_.erase(found);
}

std::unique_ptr<Dialogue> Sink::newDialogue() const {
    if (protocol_ == SinkProtocol::Smtp) return std::make_unique<SmtpDialogue>();
    return std::make_unique<ImapDialogue>();
}

}  // namespace

void runSink(SinkProtocol protocol, const Endpoint& listen) {
    Sink(protocol, listen).run();
}

}  // namespace mailgate::load
