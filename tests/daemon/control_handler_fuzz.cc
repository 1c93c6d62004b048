// libFuzzer: any bytes as a request line. Whatever it is, the answer is one line of JSON.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "daemon/control_handler.h"
#include "daemon/fake_administration.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tmem::daemon;
  FakeAdministration administration;
  administration.AddGuest(1, "db1");
  ControlHandler handler(administration);
  const std::string answer =
      handler.Handle(std::string_view(reinterpret_cast<const char*>(data), size));
  const Json json = Json::parse(answer, nullptr, /*allow_exceptions=*/false);
  if (answer.find('\n') != std::string::npos || !json.is_object() || !json["ok"].is_boolean()) {
    std::abort();
  }
  return 0;
}
