// SPDX-License-Identifier: Apache-2.0
/// \file  The configuration that a command works with.
#pragma once

#include "gateway/admin/client.h"
#include "gateway/cli/cli.h"
#include "gateway/config/load.h"

#include <Poco/JSON/Object.h>

#include <chrono>
#include <filesystem>
#include <string>

namespace mailgate::cli {

/// The file for a command that says itself which one it is. Standard error gets why a mailgate.toml of the working folder
/// is not it. Throws ConfigError.
std::filesystem::path chosenFile(const Context& context);

/// For all others. Where nobody named it, and it is the working folder's and not the system's, standard error says which
/// configuration and which rules these are. Name servers are not asked (loadUnresolved()). Throws ConfigError.
Config chosenConfig(const Context& context);

/// What a command has that needs the rules, the journal or the running gateway, and not all of the file.
struct NeededConfig {
    Config config;
    bool broken = false;  ///< the file has errors
    bool has_site =
        true;  ///< the listeners and upstreams are known: those of the file, or, where that is broken, of the
               ///< gateway that runs with this file and these rules
};
/// For such commands: an edit that is half done must not keep anybody from denying an attacker. Of a file with errors that
/// leave what is needed as it is (loadReadable()), standard error gets them, and with what the command goes on. Throws
/// ConfigError.
NeededConfig neededConfig(const Context& context);

/// The gateway that is to be asked how it is.
struct AskedGateway {
    Config config;
    std::string
        errors{};  ///< for which no more is known of the file than where its gateway listens; empty: all that is needed is
    bool is_sure = true;  ///< that it listens there

    /// The answer to GET /v1/status. Throws ClientError, and ConfigError where another gateway answers than that of the file.
    Poco::JSON::Object::Ptr status(std::chrono::milliseconds patience = admin::Client::kPatience);
};
/// As neededConfig(); where that has errors that leave nothing but [admin] as it is, an included folder that is gone for one: how a gateway
/// is that runs all the same must not depend on it. Throws ConfigError.
AskedGateway askedGateway(const Context& context);

/// resolveServers() for a command that needs the addresses.
void lookUpServers(Config& config, const WantedServer& wanted = {});

/// Throws ConfigError where the command cannot do without.
void requireSite(const NeededConfig& needed);

}  // namespace mailgate::cli
