#include "daemon/directory_tools.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace tmem::daemon {

Result<Json> ListNodes(Directory& directory, const std::string& path) {
  if (auto top = directory.Read(path); !top) return std::unexpected(std::move(top).error());
  Json nodes = Json::array();
  bool truncated = false;
  std::vector<std::string> to_visit = {path};  // the next at the back
  while (!to_visit.empty()) {
    const std::string node = std::move(to_visit.back());
    to_visit.pop_back();
    const auto value = directory.Read(node);
    if (!value) continue;  // it went meanwhile
    if (nodes.size() == kMaxListedNodes) {
      truncated = true;
      break;
    }
    nodes.push_back({{"path", node}, {"value", *value}});
    auto names = directory.List(node).value_or(std::vector<std::string>());
    std::ranges::sort(names, std::ranges::greater());
    for (const std::string& name : names)
      to_visit.push_back((node == "/" ? "" : node) + '/' + name);
  }
  return Json{{"nodes", std::move(nodes)}, {"truncated", truncated}};
}

}  // namespace tmem::daemon
