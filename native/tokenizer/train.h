// Learns the merges of a byte-level BPE from piece counts, the same ones, in the same order, as Hugging Face's BpeTrainer.
#pragma once

#include <string>
#include <vector>

#include "bpe.h"
#include "parallel.h"
#include "piece_counter.h"

namespace hornbook::tokenizer {

struct TrainingOptions {
  size_t vocabSize;      // stops when so many tokens exist
  uint64_t minFrequency;  // and at the first best pair that occurs less often
};

// `initialTokens[id]` are the bytes of each token there is before training: the 256 bytes, and reserved ids (special tokens; empty where their
// text is not made of bytes). Returns the merges as they were applied; a merge whose bytes are already a token has that token as its result,
// and the same pair may then occur again. Progress is the number of merges.
std::vector<Merge> train(const PieceCounts& pieces, const std::vector<std::string>& initialTokens, const TrainingOptions& options, const JobControl& control);

}  // namespace hornbook::tokenizer
