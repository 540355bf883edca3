#include "encoder.h"

namespace inkling::tokenizer {

// Borrows a worker for the length of a scope.
class Encoder::Lease {
 public:
  explicit Lease(Encoder& encoder) : encoder_(encoder) {
    const std::lock_guard lock(encoder.lock_);
    if (encoder.idle_.empty()) {
      worker_ = std::make_unique<Worker>();
    } else {
      worker_ = std::move(encoder.idle_.back());
      encoder.idle_.pop_back();
    }
  }
  ~Lease() {
    const std::lock_guard lock(encoder_.lock_);
    encoder_.idle_.push_back(std::move(worker_));
  }
  Worker& operator*() const { return *worker_; }

 private:
  Encoder& encoder_;
  std::unique_ptr<Worker> worker_;
};

void Encoder::encode(const uint8_t* text, size_t length, TokenBuffer& out) {
  const Lease worker(*this);
  encodeWith(*worker, text, text + length, text + length, out);
}

// In batches: first where the pieces are, then what they are. The first is all guesses about the text, the second waits for memory; apart,
// neither holds the other up, and the cache's lines are on their way before they are looked at.
void Encoder::encodeWith(Worker& worker, const uint8_t* text, const uint8_t* end, const uint8_t* limit, TokenBuffer& out) const {
  struct Pending {
    const uint8_t* piece;
    size_t length;
    ShortKey<2> key;
    PieceCache<2>::Place place;
  };
  constexpr size_t batchSize = 64;
  Pending batch[batchSize];
  size_t pending = 0;
  const auto flush = [&] {
    for (size_t i = 0; i < pending; i++) {
      const Pending& next = batch[i];
      if (next.length > ShortKey<2>::capacity || !worker.pieces.find(next.key, next.place, out)) encodeUnknown(worker, next.piece, next.length, limit, out);
    }
    pending = 0;
  };
  pretokenize(pattern_, text, end, [&](const uint8_t* piece, const uint8_t* pieceEnd) {
    Pending& next = batch[pending++];
    next.piece = piece;
    next.length = static_cast<size_t>(pieceEnd - piece);
    if (next.length <= ShortKey<2>::capacity) {
      const ShortKey<2> key(piece, next.length, limit);
      next.place = worker.pieces.placeOf(key);
      worker.pieces.prefetch(next.place);
      next.key = key;
    }
    if (pending == batchSize) flush();
  });
  flush();
}

void Encoder::encodeUnknown(Worker& worker, const uint8_t* piece, size_t length, const uint8_t* limit, TokenBuffer& out) const {
  if (length > ShortKey<4>::capacity) return model_.encodePiece(piece, length, worker.scratch, out);
  const ShortKey<4> longKey(piece, length, limit);
  const auto longPlace = worker.longPieces.placeOf(longKey);
  if (worker.longPieces.find(longKey, longPlace, out)) return;
  const size_t before = out.size();
  model_.encodePiece(piece, length, worker.scratch, out);
  const size_t count = out.size() - before;
  if (length <= ShortKey<2>::capacity && count <= PieceCache<2>::maxTokens) {
    const ShortKey<2> key(piece, length, limit);
    worker.pieces.insert(key, worker.pieces.placeOf(key), out.data() + before, count);
  } else if (count <= PieceCache<4>::maxTokens) {
    worker.longPieces.insert(longKey, longPlace, out.data() + before, count);
  }
}

EncodedDocuments Encoder::encodeDocuments(const std::vector<Document>& documents, int threads, int width, const JobControl& control) {
  // Chunks of about this size keep every thread busy to the end, and their tokens in its cache; where they are cut changes nothing.
  constexpr size_t chunkBytes = 1 << 16;
  struct Chunk {
    const uint8_t* begin;
    const uint8_t* end;
    const uint8_t* limit;
    std::unique_ptr<uint8_t[]> tokens;  // `width` bytes each
    size_t count = 0;
    size_t offset = 0;
  };
  EncodedDocuments result;
  std::vector<Chunk> chunks;
  std::vector<size_t> chunkEnds;
  for (const Document& document : documents) {
    const uint8_t* const end = document.data + document.length;
    for (const uint8_t* begin = document.data; begin < end;) {
      const bool last = static_cast<size_t>(end - begin) <= chunkBytes;
      const uint8_t* cut = last ? end : safeCut(begin + chunkBytes, end);
      chunks.push_back({begin, cut, end, {}});
      begin = cut;
    }
    chunkEnds.push_back(chunks.size());
  }

  std::vector<std::unique_ptr<Lease>> leases(static_cast<size_t>(std::max(threads, 1)));
  std::atomic<size_t> doneBytes{0};
  parallelFor(chunks.size(), threads, [&](size_t task, int lane) {
    if (control.cancelled()) throw Cancelled();
    auto& lease = leases[static_cast<size_t>(lane)];
    if (!lease) lease = std::make_unique<Lease>(*this);
    Chunk& chunk = chunks[task];
    const auto bytes = static_cast<size_t>(chunk.end - chunk.begin);
    TokenBuffer& tokens = (**lease).tokens;
    tokens.clear();
    encodeWith(**lease, chunk.begin, chunk.end, chunk.limit, tokens);
    chunk.count = tokens.size();
    chunk.tokens.reset(new uint8_t[chunk.count * static_cast<size_t>(width)]);
    if (width == 4) std::copy_n(tokens.data(), chunk.count, reinterpret_cast<uint32_t*>(chunk.tokens.get()));
    else std::transform(tokens.data(), tokens.data() + chunk.count, reinterpret_cast<uint16_t*>(chunk.tokens.get()), [](TokenId token) { return static_cast<uint16_t>(token); });
    control.progress(static_cast<int32_t>((doneBytes += bytes) >> 16));
  });

  for (Chunk& chunk : chunks) {
    chunk.offset = result.count;
    result.count += chunk.count;
  }
  for (const size_t chunkEnd : chunkEnds) result.ends.push_back(chunkEnd == chunks.size() ? result.count : chunks[chunkEnd].offset);
  result.tokens.reset(std::malloc(std::max<size_t>(result.count * static_cast<size_t>(width), 1)));
  if (!result.tokens) throw std::bad_alloc();
  parallelFor(chunks.size(), threads, [&](size_t task, int) {
    const auto bytes = static_cast<size_t>(width);
    std::copy_n(chunks[task].tokens.get(), chunks[task].count * bytes, static_cast<uint8_t*>(result.tokens.get()) + chunks[task].offset * bytes);
    chunks[task].tokens.reset();
  });
  return result;
}

}  // namespace inkling::tokenizer
