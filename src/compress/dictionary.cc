#include "compress/dictionary.h"

#include <fmt/format.h>
#include <lz4hc.h>
// Training with fixed parameters, and the parts of a dictionary, are advanced parts of zstd; the
// shared library has them like any other.
#define ZDICT_STATIC_LINKING_ONLY
#include <zdict.h>
#define ZSTD_STATIC_LINKING_ONLY
#include <xxhash.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

namespace tmem {

namespace {

// docs/decisions/0002-zstd-parameters.md says why these.
constexpr int kLz4Level = 5;
constexpr int kZstdLevel = 3;
constexpr ZDICT_fastCover_params_t kTraining = {
    .k = 256,  // bytes that are taken together
    .d = 8,    // bytes that are compared
    .f = 18,   // log2 of the frequency table
    .steps = 0,
    .nbThreads = 0,
    .splitPoint = 1.0,
    .accel = 1,
    .shrinkDict = 0,
    .shrinkDictMaxRegression = 0,
    .zParams = {.compressionLevel = kZstdLevel, .notificationLevel = 0, .dictID = 0}};

// In front of zstd's own form of a dictionary, which holds entropy tables and the content.
struct ImageHeader {
  static constexpr std::array<char, 8> kMagic = {'t', 'm', 'e', 'm', 'd', 'i', 'c', 't'};
  static constexpr uint32_t kVersion = 1;

  std::array<char, 8> magic;
  uint32_t version;
  uint32_t id;
  uint64_t length;    // of what follows the header
  uint64_t checksum;  // XXH3 of what follows, seeded with the id
};
static_assert(sizeof(ImageHeader) == 32);

constexpr size_t kMaxZstdHeader = 4096;  // entropy tables take some hundred bytes

uint64_t ChecksumOf(DictionaryId id, std::span<const std::byte> body) {
  return XXH3_64bits_withSeed(body.data(), body.size(), id);
}

// The id in an image whose form and checksum are right.
Result<DictionaryId> CheckImage(std::span<const std::byte> image) {
  const auto fail = [](std::string why) { return Fail(ErrorCode::kInvalid, std::move(why)); };
  ImageHeader header;
  if (image.size() < sizeof header) return fail("a dictionary's image is cut short");
  std::memcpy(&header, image.data(), sizeof header);
  const auto body = image.subspan(sizeof header);
  if (header.magic != ImageHeader::kMagic) return fail("this is not a dictionary's image");
  if (header.version != ImageHeader::kVersion) {
    return fail(fmt::format("a dictionary's image has version {}, this tmemd knows {}",
                            header.version, ImageHeader::kVersion));
  }
  if (header.id == kNoDictionary || header.id > UINT8_MAX) {
    return fail(fmt::format("a dictionary's image has the impossible id {}", header.id));
  }
  if (header.length != body.size()) return fail("a dictionary's image is cut short");
  const auto id = static_cast<DictionaryId>(header.id);
  if (header.checksum != ChecksumOf(id, body)) return fail("a dictionary's image is damaged");
  if (body.size() > Dictionary::kMaxContent + kMaxZstdHeader) {
    return fail("a dictionary's image is too large");
  }
  return id;
}

}  // namespace

struct Dictionary::Digest {
  struct Free {
    void operator()(ZSTD_CDict* dictionary) const { ZSTD_freeCDict(dictionary); }
    void operator()(ZSTD_DDict* dictionary) const { ZSTD_freeDDict(dictionary); }
  };

  DictionaryId id = kNoDictionary;
  uint64_t fingerprint = 0;
  std::vector<std::byte> image;
  // The rest refers to bytes of the image.
  std::span<const std::byte> content;
  std::unique_ptr<ZSTD_DDict, Free> zstd_decompressor;
  std::unique_ptr<ZSTD_CDict, Free> zstd_compressor;
  std::unique_ptr<LZ4_streamHC_t> lz4_compressor;

  void PrepareLz4() {
    lz4_compressor = std::make_unique<LZ4_streamHC_t>();
    LZ4_initStreamHC(lz4_compressor.get(), sizeof *lz4_compressor);
    LZ4_resetStreamHC_fast(lz4_compressor.get(), kLz4Level);
    LZ4_loadDictHC(lz4_compressor.get(), reinterpret_cast<const char*>(content.data()),
                   static_cast<int>(content.size()));
  }
  void PrepareZstd(std::span<const std::byte> body) {
    const auto parameters = ZSTD_getCParams(kZstdLevel, kPageSize, body.size());
    zstd_compressor.reset(ZSTD_createCDict_advanced(
        body.data(), body.size(), ZSTD_dlm_byRef, ZSTD_dct_fullDict, parameters, ZSTD_defaultCMem));
    if (zstd_compressor == nullptr) throw std::bad_alloc();
  }
};

Dictionary::Dictionary(std::unique_ptr<const Digest> digest, std::optional<DenseCodec> codec)
    : digest_(std::move(digest)), codec_(codec) {}
Dictionary::~Dictionary() = default;

Result<std::shared_ptr<const Dictionary>> Dictionary::Load(std::span<const std::byte> image,
                                                           std::optional<DenseCodec> codec) {
  const auto id = CheckImage(image);
  if (!id) return std::unexpected(id.error());
  auto digest = std::make_unique<Digest>();
  digest->id = *id;
  digest->fingerprint = ChecksumOf(*id, image.subspan(sizeof(ImageHeader)));
  digest->image.assign(image.begin(), image.end());
  const auto body = std::span<const std::byte>(digest->image).subspan(sizeof(ImageHeader));
  const size_t tables = ZDICT_getDictHeaderSize(body.data(), body.size());
  digest->zstd_decompressor.reset(ZSTD_createDDict_advanced(
      body.data(), body.size(), ZSTD_dlm_byRef, ZSTD_dct_fullDict, ZSTD_defaultCMem));
  if (ZDICT_isError(tables) || tables >= body.size() || digest->zstd_decompressor == nullptr) {
    return Fail(ErrorCode::kInvalid, "a dictionary's image does not hold a dictionary");
  }
  digest->content = body.subspan(tables);
  digest->content = digest->content.last(std::min(digest->content.size(), kMaxContent));
  if (codec == DenseCodec::kLz4) digest->PrepareLz4();
  if (codec == DenseCodec::kZstd) digest->PrepareZstd(body);
  return std::shared_ptr<const Dictionary>(new Dictionary(std::move(digest), codec));
}

Result<std::shared_ptr<const Dictionary>> Dictionary::Train(DictionaryId id,
                                                            std::span<const std::byte> samples,
                                                            DenseCodec codec) {
  const size_t count = std::min(samples.size() / kPageSize, kMaxSamples);
  if (count < kMinSamples) {
    return Fail(
        ErrorCode::kInvalid,
        fmt::format("{} pages are too few for a dictionary, which takes {}", count, kMinSamples));
  }
  const std::vector<size_t> sizes(count, kPageSize);
  std::vector<std::byte> image(sizeof(ImageHeader) + kMaxContent);
  const auto room = std::span(image).subspan(sizeof(ImageHeader));
  const size_t length =
      ZDICT_trainFromBuffer_fastCover(room.data(), room.size(), samples.data(), sizes.data(),
                                      static_cast<unsigned>(count), kTraining);
  if (ZDICT_isError(length)) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("the pages give no dictionary: {}", ZDICT_getErrorName(length)));
  }
  image.resize(sizeof(ImageHeader) + length);
  const ImageHeader header = {.magic = ImageHeader::kMagic,
                              .version = ImageHeader::kVersion,
                              .id = id,
                              .length = length,
                              .checksum = ChecksumOf(id, room.first(length))};
  std::memcpy(image.data(), &header, sizeof header);
  return Load(image, codec);
}

DictionaryId Dictionary::id() const { return digest_->id; }
uint64_t Dictionary::fingerprint() const { return digest_->fingerprint; }
std::span<const std::byte> Dictionary::image() const { return digest_->image; }
std::span<const std::byte> Dictionary::content() const { return digest_->content; }
const LZ4_streamHC_u* Dictionary::lz4_compressor() const { return digest_->lz4_compressor.get(); }
const ZSTD_CDict_s* Dictionary::zstd_compressor() const { return digest_->zstd_compressor.get(); }
const ZSTD_DDict_s* Dictionary::zstd_decompressor() const {
  return digest_->zstd_decompressor.get();
}

size_t Dictionary::bytes() const {
  return sizeof(*this) + sizeof(Digest) + digest_->image.capacity() +
         (digest_->lz4_compressor != nullptr ? sizeof(LZ4_streamHC_t) : 0) +
         ZSTD_sizeof_DDict(digest_->zstd_decompressor.get()) +
         ZSTD_sizeof_CDict(digest_->zstd_compressor.get());
}

std::string_view ToString(DenseCodec codec) {
  switch (codec) {
    case DenseCodec::kLz4:
      return "lz4";
    case DenseCodec::kZstd:
      return "zstd";
  }
  return "unknown";
}

}  // namespace tmem
