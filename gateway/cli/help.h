// SPDX-License-Identifier: Apache-2.0
/// \file  What commands and their options are, as `--help` and mailgate(1) tell it: one source, the CLI11 definitions.
#pragma once

#include <memory>
#include <string>

namespace CLI {
class App;
class FormatterBase;
}  // namespace CLI

namespace mailgate::cli {

/// For --help: options with the names of their values (NET, WHEN), and on a terminal lines that fit it.
std::shared_ptr<CLI::FormatterBase> helpFormatter();

/// A command's line in mailgate(1), in scdoc(5): "*sessions show* _ID_ [--json]". Without what all have: --help, the
/// group Output.
std::string synopsisOf(const CLI::App& command);

/// What each option of each command is for, in scdoc(5), by command.
std::string optionsReference(const CLI::App& root);

}  // namespace mailgate::cli
