// SPDX-License-Identifier: Apache-2.0
/// \file  The keys of the configuration file: a table for each struct of config.h, a row for each key.
///
/// A row is all that is known of its key: how it is read, with its range; whether a reload may change it; what it
/// means. From the rows come the loader (load.cpp), what distinguishes two configurations (changes.cpp), and the
/// reference in docs/configuration.md and mailgate.toml(5). A new key is a member in config.h, a row in fields.cpp
/// and its line in etc/mailgate.toml. Relations between keys are code: readers.cpp for those of one table, load.cpp
/// for the others.
#pragma once

#include "gateway/config/config.h"
#include "gateway/config/readers.h"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::config {

/// What takes a changed value into force.
enum class Change : std::uint8_t { Reload, Restart };

/// How a member of T is written in the file.
template <typename T>
struct Kind {
    std::string type;  ///< as the reference tells it, values between backticks
    std::function<void(Reading&, TableReader&, std::string_view key, T&)> read;
    std::function<bool(const T&, const T&)> equal;
    std::function<std::string(const T&)> show;  ///< as it would be written
};

template <typename T>
struct Field {
    std::string_view key;
    Kind<T> kind;
    Change change;
    std::string meaning;            ///< for the reference; values between backticks
    std::string_view without = {};  ///< for the reference, where it is not T's own default
    std::string_view missing = {};  ///< what the error says when it is not there; empty: need not be there
};

template <typename T>
using Fields = std::vector<Field<T>>;

const Fields<Config>& rootFields();
const Fields<Config>& defaultsFields();
const Fields<Config>& gatewayFields();
const Fields<Config>& storeFields();
const Fields<ConsoleConfig>& consoleFields();
const Fields<RulesConfig>& rulesFields();
const Fields<FleetConfig>& fleetFields();
const Fields<JournalConfig>& journalFields();
const Fields<Timeouts>& timeoutFields();
const Fields<Timeouts>& idleFields();
const Fields<LogConfig>& logFields();
const Fields<AdminConfig>& adminFields();
const Fields<ListenerConfig>& listenerFields();
const Fields<UpstreamConfig>& upstreamFields();
const Fields<ServerConfig>& serverFields();

/// The tables that a file has once: visit(path, fields, part), where part(config) is the struct that they fill; the path
/// of the keys before the first table is empty. A table comes before those inside of it.
template <typename Visit>
void forEachSection(Visit visit) {
    const auto whole = [](auto& config) -> auto& {
        return config;
    };
    const auto timeouts = [](auto& config) -> auto& {
        return config.timeouts;
    };
    visit("", rootFields(), whole);
    visit("defaults", defaultsFields(), whole);
    visit("gateway", gatewayFields(), whole);
    visit("store", storeFields(), whole);
    visit(
        "rules", rulesFields(), [](auto& config) -> auto& { return config.rules; });
    visit(
        "fleet", fleetFields(), [](auto& config) -> auto& { return config.fleet; });
    visit(
        "journal", journalFields(), [](auto& config) -> auto& { return config.journal; });
    visit("timeouts", timeoutFields(), timeouts);
    visit("timeouts.idle", idleFields(), timeouts);
    visit(
        "log", logFields(), [](auto& config) -> auto& { return config.log; });
    visit(
        "admin", adminFields(), [](auto& config) -> auto& { return config.admin; });
    visit(
        "console", consoleFields(), [](auto& config) -> auto& { return config.console; });
}

/// What the rows say, for documents.
struct Described {
    std::string key, type, without, meaning;  ///< without: what holds where the file does not say
    Change change = Change::Reload;
};
struct DescribedTable {
    std::string path;
    std::string about;   ///< a sentence or two; may be empty
    bool array = false;  ///< [[path]], as often as wanted
    std::vector<Described> keys;
};
std::vector<DescribedTable> describeTables();

}  // namespace mailgate::config
