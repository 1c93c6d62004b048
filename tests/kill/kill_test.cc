// Kills tmemd at random moments while guests use it, and starts it again: no acknowledged page may
// be lost, none that was flushed or replaced may return, none may be wrong. Every tenth end is a
// SIGTERM, as systemctl restart has it.
//
// What a moment is: the daemon dies when the guests have made a random number of operations more,
// of which a few are always under way. A SIGTERM waits until it has served some: one that meets the
// program's first instructions still has its default meaning.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kill/checking_guest.h"
#include "kill/killed_daemon.h"

namespace tmem {
namespace {

constexpr int kClients = 2;
constexpr int kGuestsAClient = 2;
constexpr uint64_t kMostOperations = 3000;  // between two kills
// More than can end with answers of the daemon before.
constexpr uint64_t kOperationsServed = kClients * kGuestsAClient + 1;

struct Options {
  std::string tmemd;
  uint64_t kills = 25;
  uint64_t seed = std::random_device{}();
  std::string capacity = "16M";  // less than the guests would like: some puts are refused
  std::string compress = "fast";
};

struct Disconnect {
  void operator()(tmem_client* client) const { tmem_disconnect(client); }
};
using ClientPtr = std::unique_ptr<tmem_client, Disconnect>;

ClientPtr Connect(const KilledDaemon& daemon, int number) {
  tmem_options options{};
  options.queues = 2;
  options.connect_ms = 60'000;
  char error[256] = "";
  const std::string name = "kill" + std::to_string(number);
  ClientPtr client(
      tmem_connect(daemon.socket().c_str(), name.c_str(), &options, error, sizeof error));
  if (!client) std::fprintf(stderr, "kill_test: %s\n", error);
  return client;
}

int Report(const Options& options, uint64_t kills, const CheckingGuest::Findings& findings,
           bool completed) {
  const uint64_t bad = findings.lost + findings.stale + findings.wrong;
  std::printf(
      "%llu kills, %llu operations, %llu puts refused: %llu lost, %llu stale, %llu wrong"
      " (--seed %llu)%s\n",
      static_cast<unsigned long long>(kills),
      static_cast<unsigned long long>(findings.operations.load()),
      static_cast<unsigned long long>(findings.refused.load()),
      static_cast<unsigned long long>(findings.lost.load()),
      static_cast<unsigned long long>(findings.stale.load()),
      static_cast<unsigned long long>(findings.wrong.load()),
      static_cast<unsigned long long>(options.seed), completed ? "" : "; NOT COMPLETED");
  return bad == 0 && completed ? 0 : 1;
}

// Kills and restarts while the guests work. Returns the number of kills; fewer than asked for if
// the daemon did not live to be killed.
uint64_t KillAgainAndAgain(const Options& options, KilledDaemon& daemon,
                           const CheckingGuest::Findings& findings,
                           const std::atomic<int>& working) {
  std::mt19937_64 random(options.seed);
  for (uint64_t kills = 0; kills < options.kills; ++kills) {
    const bool gently = kills % 10 == 9;
    const uint64_t least = gently ? kOperationsServed : 0;
    const uint64_t due = findings.operations + std::max(random() % kMostOperations, least);
    for (uint64_t done; (done = findings.operations) < due &&
                        working == kClients * kGuestsAClient && !daemon.ended();) {
      findings.operations.wait(done);
    }
    if (!daemon.Stop(gently) || !daemon.Start()) return kills;
  }
  return options.kills;
}

int Run(const Options& options) {
  CheckingGuest::Findings findings;
  const auto wake_who_waits_for_operations = [&findings] {
    ++findings.operations;
    findings.operations.notify_all();
  };
  KilledDaemon daemon(options.tmemd,
                      {"--capacity", options.capacity,
                       "--set=guest-defaults.compress-ephemeral=" + options.compress,
                       "--set=guest-defaults.compress-persistent=" + options.compress,
                       "--set=guest-defaults.compress-cpu=100"},
                      wake_who_waits_for_operations);
  if (!daemon.Start()) {
    std::fprintf(stderr, "kill_test: cannot execute %s\n", options.tmemd.c_str());
    return 1;
  }
  std::vector<ClientPtr> clients;
  std::vector<std::unique_ptr<CheckingGuest>> guests;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(Connect(daemon, i));
    if (!clients.back()) return 1;
    for (int k = 0; k < kGuestsAClient; ++k) {
      guests.push_back(std::make_unique<CheckingGuest>(clients.back().get(),
                                                       options.seed + guests.size(), findings));
    }
  }
  std::atomic<bool> stop{false};
  std::atomic<int> working{static_cast<int>(guests.size())};
  std::vector<std::thread> threads;
  for (const auto& guest : guests) {
    threads.emplace_back([&, one = guest.get()] {
      if (one->Run(stop)) return;
      --working;
      wake_who_waits_for_operations();
    });
  }
  const uint64_t kills = KillAgainAndAgain(options, daemon, findings, working);
  if (daemon.ended()) {  // the guests would wait for it for ever
    std::fprintf(stderr, "kill_test: tmemd ended as it should not; its store stays in %s\n",
                 daemon.folder().c_str());
    const int status = Report(options, kills, findings, /*completed=*/false);
    std::fflush(stdout);
    std::_Exit(status);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  bool completed = kills == options.kills && working == static_cast<int>(guests.size());
  for (const auto& guest : guests) completed = completed && guest->CheckAll();
  clients.clear();
  completed = completed && daemon.Stop(/*gently=*/true);
  return Report(options, kills, findings, completed);
}

}  // namespace
}  // namespace tmem

int main(int argc, char** argv) {
  tmem::Options options;
  CLI::App app{"Kills tmemd while guests use it and check every page."};
  app.add_option("--tmemd", options.tmemd, "the program")->required();
  app.add_option("--kills", options.kills, "how often")->capture_default_str();
  app.add_option("--seed", options.seed, "of all that is random");
  app.add_option("--capacity", options.capacity, "of the store")->capture_default_str();
  app.add_option("--compress", options.compress, "how pages are compressed")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return tmem::Run(options);
}
