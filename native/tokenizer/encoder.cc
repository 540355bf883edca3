#include "encoder.h"

namespace hornbook::tokenizer {

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

PieceCache<2>* Encoder::piecesFor(size_t bytes) {
  constexpr size_t enough = 1 << 16;
  PieceCache<2>* const made = pieces_.load(std::memory_order_acquire);
  if (made != nullptr || (bytesSeen_ += bytes) < enough) return made;
  const std::lock_guard lock(lock_);
  if (!ownPieces_) {
    ownPieces_ = std::make_unique<PieceCache<2>>(16);
    if (bytes >= largePage) ownPieces_->preferLargePages();
    pieces_.store(ownPieces_.get(), std::memory_order_release);
  }
  return ownPieces_.get();
}

void Encoder::encode(const uint8_t* text, size_t length, TokenBuffer& out) {
  piecesFor(length);
  const Lease worker(*this);
  encodeWith(*worker, text, text + length, text + length, out);
}

// In batches: first where the pieces are, then what they are. The first is all guesses about the text, the second waits for memory; apart,
// neither holds the other up, and the cache's lines are on their way before they are looked at.
void Encoder::encodeWith(Worker& worker, const uint8_t* text, const uint8_t* end, const uint8_t* limit, TokenBuffer& out) {
  struct Pending {
    const uint8_t* piece;
    size_t length;
    ShortKey<2> key;
    PieceCache<2>::Place place;
  };
  PieceCache<2>* const pieces = pieces_.load(std::memory_order_acquire);
  if (pieces == nullptr) {
    pretokenize(pattern_, text, end, [&](const uint8_t* piece, const uint8_t* pieceEnd) {
      encodeUnknown(worker, nullptr, piece, static_cast<size_t>(pieceEnd - piece), limit, out);
    });
    return;
  }
  constexpr size_t batchSize = 64;
  Pending batch[batchSize];
  size_t pending = 0;
  const auto flush = [&] {
    for (size_t i = 0; i < pending; i++) {
      const Pending& next = batch[i];
      if (next.length > ShortKey<2>::capacity || !pieces->find(next.key, next.place, out)) encodeUnknown(worker, pieces, next.piece, next.length, limit, out);
    }
    pending = 0;
  };
  pretokenize(pattern_, text, end, [&](const uint8_t* piece, const uint8_t* pieceEnd) {
    Pending& next = batch[pending++];
    next.piece = piece;
    next.length = static_cast<size_t>(pieceEnd - piece);
    if (next.length <= ShortKey<2>::capacity) {
      const ShortKey<2> key(piece, next.length, limit);
      next.place = pieces->placeOf(key);
      pieces->prefetch(next.place);
      next.key = key;
    }
    if (pending == batchSize) flush();
  });
  flush();
}

void Encoder::encodeUnknown(Worker& worker, PieceCache<2>* pieces, const uint8_t* piece, size_t length, const uint8_t* limit, TokenBuffer& out) {
  if (length > ShortKey<4>::capacity) return model_.encodePiece(piece, length, worker.scratch, out);
  const ShortKey<4> key(piece, length, limit);
  const auto place = worker.morePieces.placeOf(key);
  if (worker.morePieces.find(key, place, out)) return;
  const size_t before = out.size();
  model_.encodePiece(piece, length, worker.scratch, out);
  const TokenId* const tokens = out.data() + before;
  const size_t count = out.size() - before;
  if (pieces != nullptr && length <= ShortKey<2>::capacity && count <= PieceCache<2>::maxTokens) {
    const ShortKey<2> shortKey(piece, length, limit);
    if (pieces->share(shortKey, pieces->placeOf(shortKey), tokens, count)) return;
  }
  if (count <= PieceCache<4>::maxTokens) worker.morePieces.insert(key, place, tokens, count);
}

// Puts the tokens of chunks one after another as they come. One that comes before its turn waits, in the buffer that it came in.
class Encoder::Collector {
 public:
  // No text has more tokens than bytes; what is never written to costs nothing.
  Collector(size_t chunks, size_t bytes, int width)
      : chunks_(chunks), width_(static_cast<size_t>(width)), tokens_(allocate(bytes * width_)) {
    if (!tokens_) throw std::bad_alloc();
    preferLargePages(tokens_.get(), bytes * width_);
  }

  // Takes the tokens, and gives an empty buffer for more.
  void put(size_t index, TokenBuffer& tokens) {
    size_t first, end;
    {
      const std::lock_guard lock(lock_);
      std::swap(chunks_[index].tokens, tokens);
      chunks_[index].isHere = true;
      if (!spare_.empty()) {
        tokens = std::move(spare_.back());
        spare_.pop_back();
      }
      for (first = end = next_; end < chunks_.size() && chunks_[end].isHere; end++) {
        count_ += chunks_[end].tokens.size();
        chunks_[end].end = count_;
      }
      next_ = end;
    }
    for (size_t i = first; i < end; i++) write(chunks_[i]);
    const std::lock_guard lock(lock_);
    for (size_t i = first; i < end; i++) spare_.push_back(std::move(chunks_[i].tokens));
  }

  // After the last chunk. `chunksBefore`: where each document ends.
  EncodedDocuments take(const std::vector<size_t>& chunksBefore) {
    EncodedDocuments result;
    for (const size_t before : chunksBefore) result.ends.push_back(before == 0 ? 0 : chunks_[before - 1].end);
    result.count = count_;
    void* const all = tokens_.release();
    void* const smaller = std::realloc(all, std::max<size_t>(count_ * width_, 1));
    result.tokens.reset(smaller ? smaller : all);
    return result;
  }

 private:
  struct Chunk {
    TokenBuffer tokens;
    size_t end = 0;  // in the tokens of all
    bool isHere = false;
  };

  void write(Chunk& chunk) const {
    const TokenId* const tokens = chunk.tokens.data();
    const size_t count = chunk.tokens.size(), begin = chunk.end - count;
    if (width_ == 4) std::copy_n(tokens, count, static_cast<uint32_t*>(tokens_.get()) + begin);
    else std::transform(tokens, tokens + count, static_cast<uint16_t*>(tokens_.get()) + begin, [](TokenId token) { return static_cast<uint16_t>(token); });
  }

  std::mutex lock_;
  std::vector<Chunk> chunks_;
  std::vector<TokenBuffer> spare_;
  size_t width_, next_ = 0, count_ = 0;
  std::unique_ptr<void, Free> tokens_;
};

EncodedDocuments Encoder::encodeDocuments(const std::vector<Document>& documents, int threads, int width, const JobControl& control) {
  // Chunks of about this size keep every thread busy to the end, and their tokens in its cache; where they are cut changes nothing.
  constexpr size_t chunkBytes = 1 << 16;
  struct Chunk {
    const uint8_t* begin;
    const uint8_t* end;
    const uint8_t* limit;
  };
  std::vector<Chunk> chunks;
  std::vector<size_t> chunksBefore;  // the end of each document
  size_t bytes = 0;
  for (const Document& document : documents) {
    const uint8_t* const end = document.data + document.length;
    for (const uint8_t* begin = document.data; begin < end;) {
      const bool last = static_cast<size_t>(end - begin) <= chunkBytes;
      const uint8_t* cut = last ? end : safeCut(begin + chunkBytes, end);
      chunks.push_back({begin, cut, end});
      begin = cut;
    }
    chunksBefore.push_back(chunks.size());
    bytes += document.length;
  }
  piecesFor(bytes);

  Collector collector(chunks.size(), bytes, width);
  std::vector<std::unique_ptr<Lease>> leases(static_cast<size_t>(std::max(threads, 1)));
  std::atomic<size_t> doneBytes{0};
  parallelFor(chunks.size(), threads, [&](size_t task, int lane) {
    if (control.cancelled()) throw Cancelled();
    auto& lease = leases[static_cast<size_t>(lane)];
    if (!lease) lease = std::make_unique<Lease>(*this);
    const Chunk& chunk = chunks[task];
    TokenBuffer& tokens = (**lease).tokens;
    tokens.clear();
    encodeWith(**lease, chunk.begin, chunk.end, chunk.limit, tokens);
    collector.put(task, tokens);
    control.progress(static_cast<int32_t>((doneBytes += static_cast<size_t>(chunk.end - chunk.begin)) >> 16));
  });

  return collector.take(chunksBefore);
}

}  // namespace hornbook::tokenizer
