// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/client.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/table.h"
#include "gateway/config/load.h"
#include "gateway/log/escape.h"
#include "gateway/session/counters.h"

#include <Poco/JSON/Array.h>
#include <Poco/String.h>
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <iostream>
#include <memory>
#include <string>
#include <vector>

namespace mailgate::cli {

namespace {

using Poco::JSON::Array;
using Poco::JSON::Object;

/// A value as a cell; null and absent are a dash.
std::string cell(const Object& object, const std::string& key) {
    const Poco::Dynamic::Var value = object.get(key);
    return value.isEmpty() ? "-" : value.convert<std::string>();
}

/// ... and outside of a table.
std::string word(const Object& object, const std::string& key) {
    return escaped(cell(object, key));
}

bool isSet(const Object& object, const std::string& key) {
    return object.optValue(key, false);
}

template <typename ToRow>
void addRows(Table& table, const Object& status, const std::string& key, ToRow toRow) {
    const Array::Ptr items = status.getArray(key);
    if (!items) return;
    for (std::size_t i = 0; i < items->size(); ++i)
        table.add(toRow(*items->getObject(static_cast<unsigned>(i))));
}

std::string stateOf(const Object& server) {
    std::string state = isSet(server, "healthy") ? "up" : "DOWN";
    if (isSet(server, "draining")) state += ", draining";
    if (isSet(server, "backup")) state += ", backup";
    return state;
}

/// The listeners' counters that have a column, by the names of the JSON.
std::vector<std::string> columnCounters() {
    std::vector<std::string> names;
    for (const auto& row : kListenerCounters) {
        if (row.group == CounterGroup::Sessions && !row.name.empty()) names.emplace_back(row.name);
    }
    names.emplace_back("refused");
    return names;
}

std::string addressesOf(const Object& listener) {
    std::string addresses;
    const Array::Ptr items = listener.getArray("addresses");
    for (std::size_t i = 0; items && i < items->size(); ++i)
        addresses += (i > 0 ? ", " : "") + items->getElement<std::string>(static_cast<unsigned>(i));
    return addresses;
}

std::string listenerTable(const Object& status) {
    const std::vector<std::string> counters = columnCounters();
    Table::Row heading{"LISTENER", "PROTOCOL", "LIVE"};
    for (const std::string& counter : counters)
        heading.push_back(Poco::toUpper(counter));
    heading.insert(heading.end(), {"STATE", "ADDRESSES"});
    Table table(std::move(heading));
    addRows(table, status, "listeners", [&](const Object& listener) {
        Table::Row row{cell(listener, "name"), cell(listener, "protocol"), cell(listener, "live")};
        for (const std::string& counter : counters)
            row.push_back(cell(listener, counter));
        row.insert(row.end(), {isSet(listener, "paused") ? "PAUSED" : "listening", addressesOf(listener)});
        return row;
    });
    return table.text();
}

std::string serverTable(const Object& status) {
    Table table({"SERVER", "ADDRESS", "STATE", "SESSIONS", "TOTAL", "FAILED", "SINCE", "REASON"});
    addRows(table, status, "servers", [](const Object& server) {
        return Table::Row{fmt::format("{}/{}", cell(server, "upstream"), cell(server, "server")),
                          cell(server, "address"),
                          stateOf(server),
                          cell(server, "sessions"),
                          cell(server, "sessions_total"),
                          cell(server, "failures_total"),
                          cell(server, "changed"),
                          cell(server, "reason")};
    });
    return table.text();
}

/// What an operator should not have to look for.
std::string warningsOf(const Object& status) {
    std::string text;
    if (isSet(status, "draining")) text += "The gateway is stopping.\n";
    if (const Object::Ptr rules = status.getObject("rules"); rules && isSet(*rules, "store_failed"))
        text += "The access rules cannot be read: the ones read last stay in force.\n";
    const Array::Ptr alarms = status.getArray("address_alarms");
    for (std::size_t i = 0; alarms && i < alarms->size(); ++i)
        text += fmt::format(
            "Most sessions of listener {} come from one private address: is it a balancer that sends no "
            "PROXY header?\n",
            escaped(alarms->getElement<std::string>(static_cast<unsigned>(i))));
    const Object::Ptr journal = status.getObject("journal");
    if (journal && cell(*journal, "lost") != "0")
        text += fmt::format("The journal lost {} records.\n", word(*journal, "lost"));
    if (cell(status, "log_lines_lost") != "0")
        text += fmt::format("The log lost {} lines.\n", word(status, "log_lines_lost"));
    return text.empty() ? text : "\n" + text;
}

std::string asText(const Object& status) {
    const Object::Ptr rules = status.getObject("rules");
    return fmt::format("mailgate {} {}, pid {}, up since {}, {} of {} sessions, {}\n\n{}\n{}{}",
                       word(status, "version"), word(status, "name"), word(status, "pid"),
                       word(status, "started"), word(status, "live"), word(status, "max_sessions"),
                       counted(rules ? rules->optValue<std::size_t>("count", 0) : 0, "access rule"),
                       listenerTable(status), serverTable(status), warningsOf(status));
}

void printStatus(const Context& context, bool json) {
    const Config config = loadConfig(findConfig(context.config_file));
    const Object::Ptr status = admin::Client(config.admin.socket).get("/v1/status");
    if (!json) {
        fmt::print("{}", asText(*status));
        return;
    }
    constexpr unsigned kIndent = 2;
    status->stringify(std::cout, kIndent);
    std::cout << '\n';
}

}  // namespace

void addStatusCommand(CLI::App& root, Context& context) {
    CLI::App* command =
        root.add_subcommand("status", "Print the state of the running gateway: listeners, servers, sessions");
    const auto json = std::make_shared<bool>(false);
    command->add_flag("--json", *json, "Print JSON");
    command->callback([&context, json] { printStatus(context, *json); });
}

}  // namespace mailgate::cli
