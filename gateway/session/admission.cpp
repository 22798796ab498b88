// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/admission.h"

namespace mailgate {
namespace {

/// What the access rules say of the client; the limits are those of the rule that says it.
store::ClientLimits judge(SessionContext& context) {
    SessionRecord& record = context.record;
    const store::AccessTable& table = context.host.accessTable(*record.arrival.generation);
    const UnixSeconds now = record.wall_start / 1000;
    Admission& admission = record.admission;
    const auto match = table.lookup(record.client.address.bytes, record.arrival.listener_index, now);
    if (!match) {
        admission.allowed = record.listener().access == AccessDefault::Open;
        return {};
    }
    admission.allowed = match->verdict == store::Verdict::Allow;
    admission.temporary = match->temporary;
    admission.rule_prefix = match->network.prefix_length;
    record.rule_id = table.ruleId(match->rule);
    table.hit(match->rule, now);
    return match->limits;
}

/// By listener for every session, also for one that a limit refuses then, or that monitor mode lets in all the same: as the
/// journal and the log have it.
void countVerdict(SessionContext& context) {
    ListenerCounters& listener = context.record.listenerCounters();
    if (!context.record.admission.allowed) return count(listener.denied);
    count(listener.admitted);
    count(context.host.counters().admitted);
}

/// Its place among the sessions of its client.
LimitReached claimPlace(SessionContext& context, const store::ClientLimits& rule) {
    const ListenerConfig& listener = context.record.listener();
    const ClientTable::Limits limits{rule.sessions.value_or(listener.client_sessions),
                                     rule.per_minute.value_or(listener.client_rate)};
    if (!limits.any()) return {};
    const IpAddress& client = context.record.client.address;
    const unsigned prefix = client.isV4() ? 96U + listener.client_ipv4_prefix : listener.client_ipv6_prefix;
    switch (context.host.clients().admit(networkAround(client.bytes, prefix), listener.name, limits,
                                         context.host.now(), context.ticket)) {
        case ClientTable::Verdict::Admitted:
            break;
        case ClientTable::Verdict::TooManySessions:
            return {LimitReached::Which::Sessions, limits.sessions};
        case ClientTable::Verdict::TooFast:
            return {LimitReached::Which::Rate, limits.per_minute};
    }
    return {};
}

}  // namespace

Next admit(SessionContext& context, const next::Admit& arrived) {
    SessionRecord& record = context.record;
    SessionHost& host = context.host;
    record.client = arrived.client;
    record.destination = arrived.destination;
    host.sawClient(*record.arrival.generation, record.arrival.listener_index, record.client.address);
    const store::ClientLimits rule_limits = judge(context);
    countVerdict(context);
    if (!record.admission.allowed && context.mustRefuse(Refusal::Rule)) return next::Refuse{Refusal::Rule};
    if (host.stopping()) return next::Refuse{Refusal::ShuttingDown};
    const LimitReached limit = claimPlace(context, rule_limits);
    if (limit && context.mustRefuse(Refusal::TooMany, limit)) return next::Refuse{Refusal::TooMany, limit};
    if (host.full()) return next::Refuse{Refusal::GatewayFull};
    context.admitted = true;
    if (record.listener().tls == ListenerTls::Implicit) return next::ShakeHands{};
    return next::Connect{};
}

}  // namespace mailgate
