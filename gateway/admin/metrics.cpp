// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/metrics.h"

#include "gateway/base/clock.h"

#include <fmt/format.h>
#include <prometheus/text_serializer.h>

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>

namespace mailgate::admin {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

/// Gathers families in the order in which they are read.
class Families {
  public:
    Families& family(MetricType type, std::string name, std::string help) {
        families_.push_back({std::move(name), std::move(help), type, {}});
        return *this;
    }
    Families& counters(std::string name, std::string help) {
        return family(MetricType::Counter, std::move(name), std::move(help));
    }
    Families& gauges(std::string name, std::string help) {
        return family(MetricType::Gauge, std::move(name), std::move(help));
    }

    /// A sample of the family begun last.
    Families& sample(Labels labels, double value) {
        ClientMetric metric;
        metric.label = std::move(labels);
        metric.counter.value = value;
        metric.gauge.value = value;
        families_.back().metric.push_back(std::move(metric));
        return *this;
    }

    Families& histograms(std::string name, std::string help) {
        return family(MetricType::Histogram, std::move(name), std::move(help));
    }

    Families& sample(Labels labels, const Histogram& measured) {
        ClientMetric metric;
        metric.label = std::move(labels);
        std::uint64_t cumulative = 0;
        for (std::size_t i = 0; i < measured.counts.size(); ++i) {
            cumulative += measured.counts[i];
            const double bound = i < measured.upper_bounds.size() ? measured.upper_bounds[i]
                                                                  : std::numeric_limits<double>::infinity();
            metric.histogram.bucket.push_back({cumulative, bound});
        }
        metric.histogram.sample_count = cumulative;
        metric.histogram.sample_sum = measured.sum;
        if (!measured.counts.empty()) families_.back().metric.push_back(std::move(metric));
        return *this;
    }

    std::vector<MetricFamily> take() {
        std::erase_if(families_, [](const MetricFamily& family) { return family.metric.empty(); });
        return std::move(families_);
    }

  private:
    std::vector<MetricFamily> families_;
};

template <typename Number>
double real(Number number) {
    return static_cast<double>(number);
}

double secondsSince(std::int64_t unix_ms) {
    return real(std::max<std::int64_t>(unixMillis() - unix_ms, 0)) / 1000;
}

/// The families of a group's rows. `forEach(add)` calls add(labels, values) for whatever has these counters.
template <typename Rows, typename ForEach>
void addCounters(Families& out, const Rows& rows, CounterGroup group, ForEach forEach) {
    for (std::size_t begin = 0, end = 0; begin < std::size(rows); begin = end) {
        for (end = begin + 1; end < std::size(rows) && rows[end].metric == rows[begin].metric;)
            ++end;
        if (rows[begin].metric.empty() || rows[begin].group != group) continue;
        const auto addSamples = [&] {
            forEach([&](const Labels& common, const auto& values) {
                for (std::size_t row = begin; row < end; ++row) {
                    Labels labels = common;
                    if (!rows[row].label.empty())
                        labels.push_back({std::string(rows[row].label), std::string(rows[row].label_value)});
                    out.sample(std::move(labels), real(values[row]));
                }
            });
        };
        out.counters(std::string(rows[begin].metric), std::string(rows[begin].help));
        addSamples();
        if (rows[begin].former_metric.empty()) continue;
        out.counters(std::string(rows[begin].former_metric),
                     fmt::format("The former name of {}.", rows[begin].metric));
        addSamples();
    }
}

void addGateway(Families& out, const Status& status) {
    out.gauges("mailgate_build_info", "Constant 1; the version is in the label.")
        .sample({{"version", status.version}}, 1);
    out.gauges("mailgate_draining", "1 while the gateway is stopping and takes no new connections.")
        .sample({}, status.draining ? 1 : 0);
    out.gauges("mailgate_sessions_max", "The number of sessions that the gateway takes at the same time.")
        .sample({}, real(status.max_sessions));
    addCounters(out, kGatewayCounters, CounterGroup::Sessions,
                [&](auto add) { add(Labels{}, status.totals); });
    addCounters(out, kGatewayCounters, CounterGroup::Content,
                [&](auto add) { add(Labels{}, status.totals); });
    out.gauges("mailgate_last_reload_failed", "1 while the last reload was refused and nothing changed.")
        .sample({}, status.last_reload_failed ? 1 : 0);
}

void addListeners(Families& out, const Status& status) {
    const auto each = [&](auto add) {
        for (const ListenerStatus& listener : status.listeners)
            add(Labels{{"listener", listener.name}}, listener.totals);
    };
    addCounters(out, kListenerCounters, CounterGroup::Sessions, each);
    out.counters("mailgate_listener_refusals_total", "Refused sessions of a listener by reason.");
    for (const ListenerStatus& listener : status.listeners)
        for (const auto& [reason, number] : listener.refusals)
            out.sample({{"listener", listener.name}, {"reason", reason}}, real(number));
    out.counters(
        "mailgate_would_refuse_total",
        "Sessions of a listener in monitor mode that it would have refused, by reason; a session may have "
        "several.");
    for (const ListenerStatus& listener : status.listeners)
        for (const auto& [reason, number] : listener.would_refuse)
            out.sample({{"listener", listener.name}, {"reason", reason}}, real(number));
    addCounters(out, kListenerCounters, CounterGroup::Content, each);
    out.gauges("mailgate_listener_available", "1 while the listener has a server that takes sessions.");
    for (const ListenerStatus& listener : status.listeners)
        out.sample({{"listener", listener.name}}, listener.available ? 1 : 0);
    out.gauges(
        "mailgate_listener_closed",
        "1 while the listener refuses every client: its access is allowlist, and the rules let in nobody.");
    for (const ListenerStatus& listener : status.listeners)
        out.sample({{"listener", listener.name}}, listener.closed ? 1 : 0);
    out.gauges("mailgate_sessions_live", "Sessions now.");
    for (const ListenerStatus& listener : status.listeners)
        out.sample({{"listener", listener.name}}, real(listener.live));
    out.gauges("mailgate_listener_paused",
               "1 while the listener accepts no connections because descriptors or memory are used up.");
    for (const ListenerStatus& listener : status.listeners)
        out.sample({{"listener", listener.name}}, listener.paused ? 1 : 0);
    out.gauges("mailgate_address_alarm",
               "1 while the listener's sessions come mostly from one private address: the clients' own "
               "addresses may be lost in front of mailgate.");
    for (const ListenerStatus& listener : status.listeners) {
        const bool alarm =
            std::ranges::find(status.address_alarms, listener.name) != status.address_alarms.end();
        out.sample({{"listener", listener.name}}, alarm ? 1 : 0);
    }
}

void addTls(Families& out, const Status& status) {
    out.counters("mailgate_tls_handshakes_total",
                 "TLS handshakes with clients by how they went; those done by version.");
    for (const ListenerStatus& listener : status.listeners)
        for (const HandshakeCount& row : listener.handshakes)
            out.sample({{"listener", listener.name},
                        {"result", std::string(row.result)},
                        {"version", std::string(row.version)}},
                       real(row.count));
    out.gauges(
        "mailgate_tls_certificate_refused",
        "1 while the files with which a listener, upstream or the console speaks TLS have changed and are "
        "not in use: those read before are, until a restart.");
    for (const TlsFilesStatus& files : status.tls_files)
        out.sample({{"used_by", files.used_by}, {"name", files.name}}, files.failure.empty() ? 0 : 1);
    out.gauges("mailgate_tls_certificate_expiry_seconds",
               "Unix time at which a listener's certificate expires; name is the first that it is for.");
    // Where two have the same labels the first to expire counts.
    std::map<std::array<std::string, 3>, std::int64_t> expiries;
    for (const CertificateStatus& certificate : status.certificates) {
        const std::string& name = certificate.names.empty() ? certificate.subject : certificate.names.front();
        const auto row =
            expiries.try_emplace({certificate.listener, name, certificate.key_type}, certificate.not_after);
        row.first->second = std::min(row.first->second, certificate.not_after);
    }
    for (const auto& [labels, expiry] : expiries)
        out.sample({{"listener", labels[0]}, {"name", labels[1]}, {"key_type", labels[2]}}, real(expiry));
}

void addOutcomes(Families& out, const Status& status) {
    out.counters("mailgate_session_ends_total", "Sessions that have ended, by close reason.");
    for (const auto& [end, count] : status.ends)
        out.sample({{"end", end}}, real(count));
    out.counters("mailgate_refusals_total", "Refused sessions by reason.");
    for (const auto& [reason, count] : status.refusals)
        out.sample({{"reason", reason}}, real(count));
    out.counters("mailgate_proxy_rejections_total",
                 "Connections closed because of a bad or missing PROXY header.");
    for (const RejectionTally::Row& rejection : status.rejections)
        out.sample({{"reason", std::string(rejection.reason)}, {"balancer", rejection.balancer}},
                   real(rejection.count));
}

void addRules(Families& out, const Status& status) {
    out.gauges("mailgate_rules", "Access rules in force.").sample({}, real(status.rules));
    out.gauges("mailgate_rules_bytes", "Memory of the access table in force.")
        .sample({}, real(status.rules_bytes));
    out.gauges("mailgate_rules_version", "Version of the access rules in force: each change is one more.")
        .sample({}, real(status.rules_version));
    out.gauges("mailgate_rules_age_seconds", "Age of the access table in force.");
    if (status.rules_loaded_ms != 0) out.sample({}, secondsSince(status.rules_loaded_ms));
    out.gauges("mailgate_rules_expiring", "Access rules that expire within rules.warn_expiry.")
        .sample({}, real(status.rules_expiring));
    std::uint64_t idle = 0;
    for (const auto& [listener, rules] : status.rules_without_listener)
        idle += rules;
    out.gauges("mailgate_rules_without_listener",
               "Access rules without effect: they name a listener that there is not.")
        .sample({}, real(idle));
    out.gauges("mailgate_rules_store_failed",
               "1 while the store of the rules cannot be read and the last table stays in force.")
        .sample({}, status.rules_failed ? 1 : 0);
}

void addFleet(Families& out, const Status& status) {
    const store::FleetStatus& fleet = status.fleet;
    out.gauges("mailgate_fleet_connected",
               "1 while the fleet's database answers, 0 while it does not; nothing without a fleet.");
    if (fleet.configured) out.sample({}, fleet.connected ? 1 : 0);
    out.gauges("mailgate_fleet_lag_seconds",
               "Time since the gateway was last known to have the fleet's rules.");
    if (fleet.configured) out.sample({}, fleet.lag_seconds);
    out.gauges("mailgate_fleet_rules_version", "Version of the fleet's rules that the gateway has.");
    if (fleet.configured) out.sample({}, real(fleet.version));
    out.gauges("mailgate_fleet_tickets_shared",
               "1 while session tickets are sealed with a key of the fleet, 0 while with one of this gateway "
               "alone; nothing without fleet.ticket_secret.");
    if (status.fleet_tickets.configured) out.sample({}, status.fleet_tickets.until != 0 ? 1 : 0);
    const store::ShipperStatus& journal = status.fleet_journal;
    out.gauges("mailgate_fleet_journal_connected",
               "1 while the journal gets to the fleet's database, 0 while it does not; nothing where it "
               "stays here.");
    if (journal.configured) out.sample({}, journal.connected ? 1 : 0);
    out.gauges("mailgate_fleet_journal_lag_seconds",
               "Time since all of the journal was last known to be in the fleet's database.");
    if (journal.configured) out.sample({}, journal.lag_seconds);
    out.gauges("mailgate_fleet_journal_behind", "Records of the journal that are not there yet.");
    if (journal.configured) out.sample({}, real(journal.behind));
    out.counters("mailgate_fleet_journal_shipped_total", "Records of the journal that got there.");
    if (journal.configured) out.sample({}, real(journal.shipped));
    out.counters(
        "mailgate_fleet_journal_missed_total",
        "Pieces of the journal, of up to 16,384 records, that its retention removed before they got there.");
    if (journal.configured) out.sample({}, real(journal.missed));
    out.counters("mailgate_fleet_journal_rejected_total",
                 "Records that the fleet's database could not have.");
    if (journal.configured) out.sample({}, real(journal.rejected));
}

Labels labelsOf(const ServerStatus& server) {
    return {{"upstream", server.upstream}, {"server", server.server}, {"address", server.address}};
}

void addServers(Families& out, const Status& status) {
    const auto each = [&](double (*value)(const ServerStatus&)) {
        for (const ServerStatus& server : status.servers)
            out.sample(labelsOf(server), value(server));
    };
    out.gauges("mailgate_server_up", "1 while the server is healthy, whatever its admin state.");
    each([](const ServerStatus& server) { return server.healthy ? 1.0 : 0.0; });
    out.gauges("mailgate_server_draining",
               "1 while the admin state of the server is drain: it gets no new sessions.");
    each([](const ServerStatus& server) { return server.draining ? 1.0 : 0.0; });
    out.gauges("mailgate_server_drained_since_seconds",
               "Unix time at which the server was drained; nothing while its admin state is ready.");
    for (const ServerStatus& server : status.servers)
        if (server.drained.since != 0) out.sample(labelsOf(server), real(server.drained.since));
    out.gauges("mailgate_server_sessions", "Sessions that the server has now, those connecting included.");
    each([](const ServerStatus& server) { return real(server.sessions); });
    out.counters("mailgate_server_sessions_started_total", "Sessions that the server was given.");
    each([](const ServerStatus& server) { return real(server.sessions_total); });
    out.counters(
        "mailgate_server_failures_total",
        "Attempts to give the server a session that failed: no connection, no greeting, or a greeting "
        "that refuses the session. A session that waits for a server makes many.");
    each([](const ServerStatus& server) { return real(server.failures_total); });
    out.counters(
        "mailgate_server_tls_handshakes_total",
        "TLS handshakes with servers, those of health checks included, by how they went; those done by "
        "version.");
    for (const ServerStatus& server : status.servers) {
        for (const HandshakeCount& row : server.handshakes) {
            Labels labels = labelsOf(server);
            labels.push_back({"result", std::string(row.result)});
            labels.push_back({"version", std::string(row.version)});
            out.sample(std::move(labels), real(row.count));
        }
    }
    out.gauges("mailgate_server_certificate_expiry_seconds",
               "Unix time at which the certificate expires that the server showed last.");
    for (const ServerStatus& server : status.servers)
        if (server.certificate_expires != 0) out.sample(labelsOf(server), real(server.certificate_expires));
    out.histograms("mailgate_connect_seconds", "Time to connect to a server.");
    for (const UpstreamStatus& upstream : status.upstreams)
        out.sample({{"upstream", upstream.name}}, upstream.connect_seconds);
    out.histograms("mailgate_greeting_seconds", "Time from the connection to the server's greeting.");
    for (const UpstreamStatus& upstream : status.upstreams)
        out.sample({{"upstream", upstream.name}}, upstream.greeting_seconds);
}

void addRecords(Families& out, const Status& status) {
    out.gauges("mailgate_journal_queue_records", "Records that wait to be written to the journal.")
        .sample({}, real(status.journal_queued));
    out.gauges(
        "mailgate_journal_failed",
        "1 while records cannot be written to the journal; they wait in memory, and are lost in a stop.");
    if (status.journal_max_bytes != 0) out.sample({}, status.journal_failure.empty() ? 0 : 1);
    out.gauges("mailgate_journal_bytes", "Size of the journal.").sample({}, real(status.journal_bytes));
    out.gauges("mailgate_journal_max_bytes", "Size at which its oldest sessions are deleted.");
    if (status.journal_max_bytes != 0) out.sample({}, real(status.journal_max_bytes));
    out.gauges("mailgate_journal_oldest_seconds", "Unix time of the oldest session in the journal.");
    if (status.journal_oldest_ms != 0) out.sample({}, real(status.journal_oldest_ms) / 1000);
    out.counters("mailgate_journal_written_total", "Records written to the journal.")
        .sample({}, real(status.journal_written));
    out.counters("mailgate_journal_lost_total", "Records that the journal could not take.")
        .sample({}, real(status.journal_lost));
    out.gauges("mailgate_log_failed",
               "1 while the event log cannot be written, and its lines wait in memory, or its file not be "
               "opened again.")
        .sample({}, status.log_failure.empty() ? 0 : 1);
    out.counters("mailgate_log_lines_lost_total", "Lines that the event log could not take.")
        .sample({}, real(status.log_lines_lost));
}

void addWorkers(Families& out, const Status& status) {
    out.gauges("mailgate_worker_lag_seconds", "How late the worker's last timer tick was.");
    for (std::size_t i = 0; i < status.worker_lag_seconds.size(); ++i)
        out.sample({{"worker", std::to_string(i)}}, status.worker_lag_seconds[i]);
}

double residentBytes() {
    std::uint64_t total_pages = 0, resident_pages = 0;
    std::ifstream("/proc/self/statm") >> total_pages >> resident_pages;
    return real(resident_pages) * real(::sysconf(_SC_PAGESIZE));
}

double openDescriptors() {
    std::error_code error;
    const std::filesystem::directory_iterator begin("/proc/self/fd", error);
    // One of them is the look itself.
    return error ? 0 : real(std::distance(begin, std::filesystem::directory_iterator()) - 1);
}

double cpuSeconds() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) { return real(time.tv_sec) + real(time.tv_usec) / 1e6; };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// The names that Prometheus' own client libraries use.
void addProcess(Families& out, const Status& status) {
    rlimit descriptors{};
    ::getrlimit(RLIMIT_NOFILE, &descriptors);
    out.gauges("process_resident_memory_bytes", "Resident memory.").sample({}, residentBytes());
    out.gauges("process_open_fds", "Open file descriptors.").sample({}, openDescriptors());
    out.gauges("process_max_fds", "Limit of open file descriptors.").sample({}, real(descriptors.rlim_cur));
    out.counters("process_cpu_seconds_total", "User and system CPU time.").sample({}, cpuSeconds());
    out.gauges("process_start_time_seconds", "Unix time of the start.")
        .sample({}, real(status.started_ms) / 1000);
}

}  // namespace

std::vector<MetricFamily> GatewayMetrics::Collect() const {
    const Status status = control_.status();
    Families families;
    addGateway(families, status);
    addListeners(families, status);
    addTls(families, status);
    addOutcomes(families, status);
    addRules(families, status);
    addFleet(families, status);
    addServers(families, status);
    addRecords(families, status);
    addWorkers(families, status);
    addProcess(families, status);
    return families.take();
}

std::string metricsText(const prometheus::Collectable& source) {
    std::ostringstream text;
    prometheus::TextSerializer().Serialize(text, source.Collect());
    return text.str();
}

}  // namespace mailgate::admin
