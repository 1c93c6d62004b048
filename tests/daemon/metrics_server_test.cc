#include "daemon/metrics_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <future>
#include <thread>

#include "base/unique_fd.h"

namespace tmem::daemon {
namespace {

// The whole answer to a scrape.
std::string Scrape(int port) {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return "cannot connect";
  }
  constexpr std::string_view kRequest = "GET /metrics HTTP/1.0\r\n\r\n";
  (void)::send(fd.get(), kRequest.data(), kRequest.size(), MSG_NOSIGNAL);
  std::string answer;
  std::array<char, 4096> piece;
  ssize_t bytes;
  while ((bytes = ::recv(fd.get(), piece.data(), piece.size(), 0)) > 0) {
    answer.append(piece.data(), static_cast<size_t>(bytes));
  }
  return answer;
}

void Wait(int fd) {
  pollfd event{.fd = fd, .events = POLLIN, .revents = 0};
  ASSERT_EQ(::poll(&event, 1, -1), 1);
}

TEST(MetricsServerTest, AScrapeIsAnsweredByTheThreadThatHandlesEvents) {
  const auto self = std::this_thread::get_id();
  auto server = MetricsServer::Create("127.0.0.1:0", [self] {
    EXPECT_TRUE(std::this_thread::get_id() == self);
    prometheus::MetricFamily family{"x", "Help.", prometheus::MetricType::Gauge, {{}}};
    family.metric[0].gauge.value = 7;
    return std::vector{family};
  });
  ASSERT_TRUE(server) << server.error().message;
  auto answer = std::async(std::launch::async, Scrape, (*server)->port());
  Wait((*server)->fd());
  (*server)->HandleEvents();
  EXPECT_THAT(answer.get(), testing::HasSubstr("# HELP x Help.\n# TYPE x gauge\nx 7"));
}

TEST(MetricsServerTest, AScrapeThatWaitsDoesNotHoldUpTheEnd) {
  auto server = MetricsServer::Create("127.0.0.1:0", [] {
    ADD_FAILURE() << "nobody handles events";
    return std::vector<prometheus::MetricFamily>();
  });
  ASSERT_TRUE(server) << server.error().message;
  auto answer = std::async(std::launch::async, Scrape, (*server)->port());
  Wait((*server)->fd());
  server->reset();
  EXPECT_THAT(answer.get(), testing::Not(testing::HasSubstr("TYPE x")));
}

}  // namespace
}  // namespace tmem::daemon
