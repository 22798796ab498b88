// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/client.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/screen.h"
#include "gateway/cli/table.h"
#include "gateway/config/load.h"

#include <Poco/JSON/Array.h>
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <iostream>
#include <memory>
#include <string>

namespace mailgate::cli {

namespace {

using Poco::JSON::Array;
using Poco::JSON::Object;

std::string namesOf(const Object& certificate) {
    std::string names;
    const Array::Ptr items = certificate.getArray("names");
    for (std::size_t i = 0; items && i < items->size(); ++i)
        names += (i > 0 ? ", " : "") + items->getElement<std::string>(static_cast<unsigned>(i));
    return names;
}

std::string certificateTable(const Array& certificates, const TableStyle& style, const Times& times) {
    if (certificates.empty()) return "No listener ends TLS.\n";
    Table table({{.name = "listener", .title = "LISTENER", .least = 12},
                 {.name = "names", .title = "NAMES", .least = 16},
                 {.name = "key", .title = "KEY", .leaves = 1},
                 {.name = "not-after", .title = times.title("NOT AFTER"), .leaves = 3},
                 {.name = "days-left", .title = "DAYS LEFT"},
                 {.name = "file", .title = "FILE", .least = 16, .leaves = 2}},
                style);
    for (std::size_t i = 0; i < certificates.size(); ++i) {
        const Object& each = *certificates.getObject(static_cast<unsigned>(i));
        table.add({each.getValue<std::string>("listener"), namesOf(each),
                   each.getValue<std::string>("key_type"),
                   times.text(each.getValue<std::string>("not_after")),
                   each.getValue<std::string>("days_left"), each.getValue<std::string>("file")});
    }
    return table.text();
}

void printCertificates(const Context& context, bool json, const ViewOptions& view) {
    const Config config = loadConfig(findConfig(context.config_file));
    const Object::Ptr answer = admin::Client(config.admin.socket).get("/v1/status");
    const Array::Ptr certificates = answer->getArray("certificates");
    if (!json) {
        print(certificateTable(*certificates, view.style(), view.times()), view);
        return;
    }
    constexpr unsigned kIndent = 2;
    Object all;
    all.set("certificates", certificates);
    all.stringify(std::cout, kIndent);
    std::cout << '\n';
}

}  // namespace

void addTlsCommand(CLI::App& root, Context& context) {
    CLI::App* tls = root.add_subcommand("tls", "What the running gateway presents to clients that speak TLS");
    tls->require_subcommand(1);
    CLI::App* status = tls->add_subcommand("status", "Print its certificates, and when they expire");
    const auto json = std::make_shared<bool>(false);
    status->add_flag("--json", *json, "As JSON");
    const auto view = std::make_shared<ViewOptions>();
    addViewOptions(*status, *view, Prints::OneTable);
    status->callback([&context, json, view] { printCertificates(context, *json, *view); });
}

}  // namespace mailgate::cli
