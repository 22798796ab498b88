// SPDX-License-Identifier: Apache-2.0
/// \file  One configuration in force, and all that belongs to it.
///
/// A reload makes a new generation; sessions keep the one they began with, so that nothing changes under
/// them. Immutable but for what is atomic inside.
#pragma once

#include "gateway/config/config.h"
#include "gateway/session/counters.h"
#include "gateway/session/rule_notes.h"
#include "gateway/tls/tls_listener.h"
#include "gateway/upstream/upstream_pool.h"
#include "protocols/values/snapshot.h"
#include "store/rules/watcher.h"

#include <memory>
#include <vector>

namespace mailgate {

struct Generation {
    Config config;
    std::vector<std::unique_ptr<UpstreamPool>> upstreams;      ///< as in the configuration
    std::vector<std::shared_ptr<ListenerCounters>> listeners;  ///< likewise; they outlive a reload by name
    std::vector<std::shared_ptr<UpstreamCounters>>
        upstream_counters;                            ///< as `upstreams`; they outlive a reload by name
    std::vector<std::shared_ptr<TlsListener>> tls;    ///< likewise; null where TLS does not end
    std::shared_ptr<Snapshot<RuleNotes>> rule_notes;  ///< null: no listener's footer shows them
    std::shared_ptr<store::AccessWatcher> access;     ///< built for the names of `config.listeners`, in order
};

}  // namespace mailgate
