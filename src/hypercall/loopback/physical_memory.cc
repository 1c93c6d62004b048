#include "hypercall/loopback/physical_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

namespace tmem::loopback {

namespace {

Result<Bytes> ReadSize(Directory& tree, std::string_view path, std::string_view unit,
                       Result<Bytes> otherwise) {
  const auto text = tree.Read(std::string(path));
  if (!text && text.error().code == ErrorCode::kNotFound) return otherwise;
  if (!text) return std::unexpected(text.error());
  auto size = ParseBytes(fmt::format("{}{}", *text, unit));
  if (!size) return std::unexpected(std::move(size).error().Within(path));
  return size;
}

}  // namespace

Result<PhysicalMemory> ReadPhysicalMemory(Directory& tree) {
  const auto all = ReadSize(tree, "/loopback/memory", "",
                            Fail(ErrorCode::kUnsupported,
                                 "a loopback host has memory only if /loopback/memory "
                                 "says how much"));
  if (!all) return std::unexpected(all.error());
  const auto guests = ReadSize(tree, "/loopback/guests-memory", "", Bytes(0));
  if (!guests) return std::unexpected(guests.error());
  const auto target = ReadSize(tree, kBackendTargetPath, "K", kBackendMemory);
  if (!target) return std::unexpected(target.error());
  const Bytes left = *all - std::min(*all, *guests);
  const Bytes held = std::min(*target, left);
  return PhysicalMemory{.free = left - held, .held = held, .target = *target, .maximum = *all};
}

Result<void> SetBackendTarget(Directory& tree, Bytes target) {
  return tree.Write(std::string(kBackendTargetPath), fmt::format("{}", target.value / 1024));
}

}  // namespace tmem::loopback
