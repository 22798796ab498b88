// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/load/run.h"
#include "tests/bench/load/sink.h"

#include <CLI/CLI.hpp>

#include <sys/resource.h>

#include <exception>
#include <iostream>
#include <map>
#include <memory>

namespace mailgate::load {

namespace {

/// Every session is a descriptor or two.
void raiseDescriptorLimit() {
    rlimit limit{};
    check(getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    check(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
}

void addSinkCommand(CLI::App& root) {
    CLI::App* const sink = root.add_subcommand("sink", "Be a mail server that keeps nothing, until SIGTERM");
    const auto protocol = std::make_shared<SinkProtocol>();
    const auto listen = std::make_shared<std::string>("127.0.0.1:0");
    const std::map<std::string, SinkProtocol> protocols{{"smtp", SinkProtocol::Smtp},
                                                        {"imap", SinkProtocol::Imap}};
    sink->add_option("protocol", *protocol, "smtp or imap")
        ->required()
        ->transform(CLI::CheckedTransformer(protocols));
    sink->add_option("--listen", *listen, "ADDRESS:PORT; port 0: any")->capture_default_str();
    sink->callback([=] { runSink(*protocol, Endpoint::parse(*listen)); });
}

void addRunCommand(CLI::App& root, int& exit_code) {
    struct Arguments {
        RunOptions options;
        std::string target, clients_file;
        unsigned duration = 0;
    };
    CLI::App* const command = root.add_subcommand("run", "Be many clients behind PROXY headers");
    const auto arguments = std::make_shared<Arguments>();
    RunOptions& options = arguments->options;
    std::map<std::string, Workload> workloads;
    for (std::size_t index = 0; index < std::size(kWorkloadNames); ++index)
        workloads.emplace(kWorkloadNames[index], static_cast<Workload>(index));
    command->add_option("workload", options.workload, "What the sessions do")
        ->required()
        ->transform(CLI::CheckedTransformer(workloads));
    command->add_option("--target", arguments->target, "ADDRESS:PORT of the gateway")->required();
    command->add_option("--count", options.count, "Sessions in all")->capture_default_str();
    command->add_option("--duration", arguments->duration, "Begin no session after so many seconds");
    command->add_option("--concurrency", options.concurrency, "Sessions at once (smtp-serial: always one)")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    command->add_option("--sources", options.sources, "Loopback addresses to connect from")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    command->add_option("--octets", options.octets, "Of the message, or of what imap-bulk downloads")
        ->capture_default_str();
    command->add_option("--clients", arguments->clients_file,
                        "IPv4 networks of the client addresses, one a line");
    const std::map<std::string, TlsUse> uses{{"full", TlsUse::Full}, {"resumed", TlsUse::Resumed}};
    command->add_option("--tls", options.tls, "Behind the header: full, or resumed handshakes")
        ->transform(CLI::CheckedTransformer(uses));
    command->callback([arguments, &exit_code] {
        RunOptions& chosen = arguments->options;
        chosen.target = Endpoint::parse(arguments->target);
        if (!arguments->clients_file.empty())
            chosen.clients = ClientAddresses::fromFile(arguments->clients_file);
        if (arguments->duration > 0) chosen.duration = std::chrono::seconds(arguments->duration);
        if (chosen.workload == Workload::SmtpSerial) chosen.concurrency = 1;
        exit_code = run(chosen) ? 0 : 1;
    });
}

}  // namespace

}  // namespace mailgate::load

int main(int argc, char** argv) {
    CLI::App root{"Load for a mail gateway: fake servers behind it and many clients in front of it"};
    root.require_subcommand(1);
    int exit_code = 0;
    mailgate::load::addSinkCommand(root);
    mailgate::load::addRunCommand(root, exit_code);
    try {
        mailgate::load::raiseDescriptorLimit();
        root.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return root.exit(error) == 0 ? 0 : 2;
    } catch (const std::exception& error) {
        std::cerr << "mailload: " << error.what() << '\n';
        return 1;
    }
    return exit_code;
}
