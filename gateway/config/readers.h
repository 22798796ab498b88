// SPDX-License-Identifier: Apache-2.0
/// \file  Reads the keys whose values have rules of their own, beyond a type and a range.
///
/// Each is called when its table is read, in the order of the field table (fields.cpp): what stands before it there has
/// been read. A reader reports what is wrong where it stands and leaves a usable value behind.
#pragma once

#include "gateway/config/config.h"
#include "gateway/config/toml_reader.h"

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::config {

inline constexpr std::size_t kMaxHostName = 253;  // RFC 1035 2.3.4, in text

/// Names of which each may be given once.
class Names {
  public:
    /// Reads and checks the name; reports an ill-formed or second one.
    void read(TableReader& table, std::string_view key, std::string& name);

  private:
    std::vector<std::string> names_;
    std::vector<Position> places_;
};

/// [networks]: lists that stand for their networks as "@NAME".
struct NetworkList {
    std::vector<Network> networks;
    Position where;
    bool empty = false;  ///< in the file
    bool used = false;
};
using NetworkLists = std::map<std::string, NetworkList, std::less<>>;

/// Of the system's configuration, and what systemd's unit calls StateDirectory and RuntimeDirectory.
inline constexpr const char* kSystemFolder = "/etc/mailgate";
inline constexpr const char* kStateFolder = "/var/lib/mailgate";
inline constexpr const char* kRunFolder = "/run/mailgate";

/// What a reader may need besides its own table, and what it leaves for the checks of the whole.
struct Reading {
    struct Bound {
        Endpoint endpoint;
        Position where;
        std::string key;
        bool serves_http = false;
        /// Whatever else is bound, which is a matter of listeners' [::] alone.
        bool takesV4() const { return serves_http && endpoint.address == IpAddress{}; }
    };

    Problems& problems;
    const Config& config;  ///< what has been read so far
    std::filesystem::path base;
    Names* names = nullptr;    ///< of the kind of table that is read
    std::vector<Bound> bound;  ///< all that the gateway listens on
    NetworkLists networks{};   ///< by name
    const toml::table* listener_defaults = nullptr;
    const toml::table* upstream_defaults = nullptr;

    std::string absolute(const std::string& path) const { return (base / path).lexically_normal().string(); }
    /// Where `name`, a default, is: beside the file; for the system's file in `folder`, since its service may not
    /// write beside it.
    std::string usual(const std::string& name, const char* folder) const {
        return base == kSystemFolder ? (std::filesystem::path(folder) / name).string() : absolute(name);
    }
};

/// Letters, digits, '.', '-' and '_'.
bool isName(std::string_view text, std::size_t longest);

inline constexpr Word<BareLfPolicy> kBareLfPolicies[] = {
    {"normalize", BareLfPolicy::Normalize}, {"reject", BareLfPolicy::Reject}, {"pass", BareLfPolicy::Pass}};

inline constexpr Word<ListenerTls> kListenerTls[] = {{"off", ListenerTls::Off},
                                                     {"passthrough", ListenerTls::Passthrough},
                                                     {"implicit", ListenerTls::Implicit},
                                                     {"starttls", ListenerTls::StartTls}};
inline constexpr Word<UpstreamTls> kUpstreamTls[] = {{"off", UpstreamTls::Off},
                                                     {"implicit", UpstreamTls::Implicit},
                                                     {"starttls", UpstreamTls::StartTls},
                                                     {"mirror", UpstreamTls::Mirror}};
inline constexpr Word<bool> kTlsVerify[] = {{"on", true}, {"off", false}};
inline constexpr Word<ClientCertificates> kClientCertificates[] = {
    {"off", ClientCertificates::Off},
    {"optional", ClientCertificates::Optional},
    {"required", ClientCertificates::Required}};

void readInclude(Reading&, TableReader&, std::string_view key, Config&);
void readNetworkLists(Reading&, TableReader&, std::string_view key, Config&);
void readHostName(Reading&, TableReader&, std::string_view key, Config&);
void readStoreUrl(Reading&, TableReader&, std::string_view key, Config&);
void readFleetUrl(Reading&, TableReader&, std::string_view key, FleetConfig&);
void readTicketSecret(Reading&, TableReader&, std::string_view key, FleetConfig&);
void readJournalUrl(Reading&, TableReader&, std::string_view key, JournalConfig&);
void readMaskAfter(Reading&, TableReader&, std::string_view key, JournalConfig&);
void readLogTarget(Reading&, TableReader&, std::string_view key, LogConfig&);
void readSocket(Reading&, TableReader&, std::string_view key, AdminConfig&);
void readHttpAddress(Reading&, TableReader&, std::string_view key, AdminConfig&);
void readConsoleAddress(Reading&, TableReader&, std::string_view key, ConsoleConfig&);
void readConsoleCertificates(Reading&, TableReader&, std::string_view key, ConsoleConfig&);
void readInsecure(Reading&, TableReader&, std::string_view key, ConsoleConfig&);
void readTrustedProxies(Reading&, TableReader&, std::string_view key, ConsoleConfig&);
void readUserHeader(Reading&, TableReader&, std::string_view key, ConsoleConfig&);
void readBaseUrl(Reading&, TableReader&, std::string_view key, ConsoleConfig&);

void readAddresses(Reading&, TableReader&, std::string_view key, ListenerConfig&);
void readTrusted(Reading&, TableReader&, std::string_view key, ListenerConfig&);
void readListenerTls(Reading&, TableReader&, std::string_view key, ListenerConfig&);
void readTlsRequired(Reading&, TableReader&, std::string_view key, ListenerConfig&);
void readCertificates(Reading&, TableReader&, std::string_view key, ListenerConfig&);
void readMinVersion(Reading&, TableReader&, std::string_view key, ListenerConfig&);
void readCiphers(Reading&, TableReader&, std::string_view key, ListenerConfig&);
void readGroups(Reading&, TableReader&, std::string_view key, ListenerConfig&);
void readClientCertificates(Reading&, TableReader&, std::string_view key, ListenerConfig&);
void readClientCa(Reading&, TableReader&, std::string_view key, ListenerConfig&);
void readRefusalFooter(Reading&, TableReader&, std::string_view key, ListenerConfig&);
void readBareLf(Reading&, TableReader&, std::string_view key, ListenerConfig&);
void readLogMessageId(Reading&, TableReader&, std::string_view key, ListenerConfig&);
void readBareLfExclude(Reading&, TableReader&, std::string_view key, ListenerConfig&);
void readUpstreamName(Reading&, TableReader&, std::string_view key, ListenerConfig&);

void readLostClientAddress(Reading&, TableReader&, std::string_view key, UpstreamConfig&);
void readUpstreamTls(Reading&, TableReader&, std::string_view key, UpstreamConfig&);
void readTlsVerify(Reading&, TableReader&, std::string_view key, UpstreamConfig&);
void readTrustedCa(Reading&, TableReader&, std::string_view key, UpstreamConfig&);
void readUpstreamServerName(Reading&, TableReader&, std::string_view key, UpstreamConfig&);
void readClientCertificate(Reading&, TableReader&, std::string_view key, UpstreamConfig&);
void readServerName(Reading&, TableReader&, std::string_view key, ServerConfig&);
void readServerAddress(Reading&, TableReader&, std::string_view key, ServerConfig&);

inline constexpr std::chrono::milliseconds kShortestKeep = std::chrono::hours(1);
inline constexpr std::chrono::milliseconds kLongestKeep = std::chrono::hours(10 * 365 * 24);

}  // namespace mailgate::config
