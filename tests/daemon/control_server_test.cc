#include "daemon/control_server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "daemon/control_client.h"
#include "daemon/control_protocol.h"
#include "daemon/fake_administration.h"
#include "daemon/temporary_folder.h"
#include "daemon/unix_address.h"

namespace tmem::daemon {
namespace {

using testing::HasSubstr;

constexpr char kList[] = "{\"version\":1,\"verb\":\"list\"}\n";

// A client that speaks bytes, never blocks, and is served by the test's own thread.
class RawClient {
 public:
  explicit RawClient(const std::string& path)
      : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    const auto address = UnixAddress::Of(path);
    connected_ = ::connect(fd_.get(), address->get(), address->size()) == 0;
  }

  bool connected() const { return connected_; }
  void Close() { fd_.Reset(); }
  void FinishSending() { ::shutdown(fd_.get(), SHUT_WR); }

  // Bytes that the socket took.
  size_t Send(std::string_view bytes) {
    const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    return sent < 0 ? 0 : static_cast<size_t>(sent);
  }

  // What can be read now; nullopt at the end of the stream.
  std::optional<std::string> Receive() {
    std::array<char, 4096> buffer;
    std::string text;
    while (true) {
      const ssize_t bytes = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
      if (bytes == 0 || (bytes < 0 && errno != EAGAIN)) {
        return text.empty() ? std::nullopt : std::optional(text);
      }
      if (bytes < 0) return text;
      text.append(buffer.data(), static_cast<size_t>(bytes));
    }
  }

 private:
  UniqueFd fd_;
  bool connected_ = false;
};

class ControlServerTest : public testing::Test {
 protected:
  ControlServerTest() {
    administration_.AddGuest(1, "db1");
    server_ = std::move(*ControlServer::Create(path_, 0600, handler_));
  }

  // Until there is nothing left to do. The number of rounds is bounded: a server that spins fails.
  void Serve() {
    for (int round = 0; round < 10'000; ++round) {
      pollfd fd{.fd = server_->fd(), .events = POLLIN, .revents = 0};
      if (::poll(&fd, 1, 0) == 0) return;
      server_->HandleEvents();
    }
    FAIL() << "the server is never done";
  }

  // A client's request and its answer.
  std::string Ask(RawClient& client, std::string_view request) {
    client.Send(request);
    Serve();
    return client.Receive().value_or("(closed)");
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.Path("control.sock");
  FakeAdministration administration_;
  ControlHandler handler_{administration_};
  std::unique_ptr<ControlServer> server_;
};

TEST_F(ControlServerTest, AnswersARequest) {
  RawClient client(path_);
  ASSERT_TRUE(client.connected());
  const std::string answer = Ask(client, kList);
  EXPECT_THAT(answer, HasSubstr("\"db1\""));
  EXPECT_EQ(answer.back(), '\n');
}

TEST_F(ControlServerTest, AnswersInPieces) {
  RawClient client(path_);
  const std::string request = kList;
  EXPECT_EQ(Ask(client, request.substr(0, 5)), "");
  EXPECT_EQ(Ask(client, request.substr(5, 10)), "");
  EXPECT_THAT(Ask(client, request.substr(15)), HasSubstr("\"ok\":true"));
}

TEST_F(ControlServerTest, AnswersSeveralRequestsAtOnceInOrder) {
  RawClient client(path_);
  const std::string answers =
      Ask(client, std::string(kList) + "garbage\n" + "{\"version\":1,\"verb\":\"version\"}\n");
  const size_t first = answers.find("db1");
  const size_t second = answers.find("\"ok\":false");
  const size_t third = answers.find("\"protocol\"");
  EXPECT_LT(first, second);
  EXPECT_LT(second, third);
  EXPECT_NE(third, std::string::npos);
}

TEST_F(ControlServerTest, AnswersAClientThatHasFinishedSending) {
  RawClient client(path_);
  client.Send(std::string(kList) + kList);
  client.FinishSending();
  Serve();
  const std::string answers = client.Receive().value_or("");
  EXPECT_EQ(std::count(answers.begin(), answers.end(), '\n'), 2);
  EXPECT_EQ(client.Receive(), std::nullopt);
  EXPECT_EQ(server_->clients(), 0u);
}

TEST_F(ControlServerTest, DropsHalfARequest) {
  RawClient client(path_);
  client.Send("{\"version\":1,");
  client.FinishSending();
  Serve();
  EXPECT_EQ(client.Receive(), std::nullopt);
  EXPECT_EQ(server_->clients(), 0u);
}

TEST_F(ControlServerTest, GarbageIsAnsweredAndTheConnectionGoesOn) {
  RawClient client(path_);
  std::string garbage(5000, '\xfe');
  garbage[100] = '\0';
  EXPECT_THAT(Ask(client, garbage + "\n"), HasSubstr("\"ok\":false"));
  EXPECT_THAT(Ask(client, kList), HasSubstr("\"ok\":true"));
}

TEST_F(ControlServerTest, ALineWithoutEndIsRefusedAndTheConnectionCloses) {
  RawClient client(path_);
  const std::string flood(16 << 10, 'x');
  for (size_t sent = 0; sent <= kMaxRequestBytes;) {
    sent += client.Send(flood);
    Serve();
  }
  EXPECT_THAT(client.Receive().value_or(""), HasSubstr("at most 65536 bytes"));
  EXPECT_EQ(client.Receive(), std::nullopt);
  EXPECT_EQ(server_->clients(), 0u);
}

TEST_F(ControlServerTest, TheLongestRequestIsAnswered) {
  RawClient client(path_);
  std::string request = "{\"version\":1,\"verb\":\"list\"}";
  request.append(kMaxRequestBytes - request.size(), ' ');
  request += '\n';
  std::string_view rest = request;
  while (!rest.empty()) {
    rest.remove_prefix(client.Send(rest));
    Serve();
  }
  EXPECT_THAT(client.Receive().value_or(""), HasSubstr("\"ok\":true"));
}

// A client that sends and never reads must not make the daemon buffer or wait.
TEST_F(ControlServerTest, AClientThatDoesNotReadHoldsUpNobody) {
  for (uint16_t id = 2; id < 500; ++id) administration_.AddGuest(id, "guest-with-some-name");
  RawClient deaf(path_);
  for (int i = 0; i < 50; ++i) {
    deaf.Send(kList);
    Serve();
  }
  RawClient client(path_);
  EXPECT_THAT(Ask(client, "{\"version\":1,\"verb\":\"version\"}\n"), HasSubstr("\"ok\":true"));
  deaf.Close();
  Serve();
  EXPECT_EQ(server_->clients(), 1u);
}

TEST_F(ControlServerTest, IdleConnectionsLockNobodyOut) {
  std::vector<RawClient> idle;
  for (int i = 0; i < 100; ++i) {
    idle.emplace_back(path_);
    ASSERT_TRUE(idle.back().connected());
    Serve();
  }
  EXPECT_EQ(server_->clients(), kMaxClients);
  RawClient client(path_);
  EXPECT_THAT(Ask(client, kList), HasSubstr("\"ok\":true"));
  EXPECT_EQ(idle.front().Receive(), std::nullopt) << "the one that was silent for longest goes";
  EXPECT_EQ(idle.back().Receive(), "");
}

TEST_F(ControlServerTest, AClientThatVanishesWithItsAnswerPendingIsForgotten) {
  {
    RawClient client(path_);
    client.Send(kList);
  }
  Serve();
  EXPECT_EQ(server_->clients(), 0u);
}

TEST_F(ControlServerTest, OneDaemonASocket) {
  const auto second = ControlServer::Create(path_, 0600, handler_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kExists);
  EXPECT_THAT(second.error().message, HasSubstr("another tmemd holds " + path_));
  RawClient client(path_);
  EXPECT_THAT(Ask(client, kList), HasSubstr("\"ok\":true")) << "the first one goes on";
}

TEST_F(ControlServerTest, RemovesItsFilesAndMayComeBack) {
  server_.reset();
  EXPECT_NE(::access(path_.c_str(), F_OK), 0);
  EXPECT_NE(::access((path_ + ".lock").c_str(), F_OK), 0);
  EXPECT_TRUE(ControlServer::Create(path_, 0600, handler_));
}

TEST_F(ControlServerTest, ReplacesTheSocketOfADeadDaemon) {
  const std::string path = folder_.Path("stale.sock");
  {
    const UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    const auto address = UnixAddress::Of(path);
    ASSERT_EQ(::bind(dead.get(), address->get(), address->size()), 0);
  }
  EXPECT_TRUE(ControlServer::Create(path, 0600, handler_));
}

TEST_F(ControlServerTest, DoesNotReplaceAFile) {
  const std::string path = folder_.Write("precious", "data");
  const auto server = ControlServer::Create(path, 0600, handler_);
  ASSERT_FALSE(server);
  EXPECT_THAT(server.error().message, HasSubstr("no socket"));
  EXPECT_EQ(::access(path.c_str(), F_OK), 0);
}

TEST_F(ControlServerTest, SetsTheModeAndMakesTheFolder) {
  const std::string path = folder_.Path("run") + "/control.sock";
  const auto server = ControlServer::Create(path, 0640, handler_);
  ASSERT_TRUE(server) << server.error().message;
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640u);
}

TEST_F(ControlServerTest, ClientGetsResultsAndErrors) {
  std::jthread daemon([this](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      pollfd fd{.fd = server_->fd(), .events = POLLIN, .revents = 0};
      if (::poll(&fd, 1, 10) > 0) server_->HandleEvents();
    }
  });
  auto client = ControlClient::Connect(path_);
  ASSERT_TRUE(client) << client.error().message;
  const auto shown = client->Call(verb::kShow, {{"guest", "db1"}});
  ASSERT_TRUE(shown) << shown.error().message;
  EXPECT_EQ((*shown)["id"], 1);
  const auto missing = client->Call(verb::kShow, {{"guest", "nobody"}});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  const auto too_long = client->Call(verb::kShow, {{"guest", std::string(100'000, 'x')}});
  ASSERT_FALSE(too_long);
}

TEST_F(ControlServerTest, ClientTellsWhenNobodyListens) {
  const auto client = ControlClient::Connect(folder_.Path("nobody.sock"));
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(client.error().message, HasSubstr("systemctl start tmemd"));
}

}  // namespace
}  // namespace tmem::daemon
