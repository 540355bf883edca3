// The device's memory under random allocations and frees of all sizes: blocks are aligned and never overlap, what is counted as live is what was
// asked for (rounded), and free memory is found again: steps of one pattern hold no more than the first, whatever order they free in.
#include "../executor/memory.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

using namespace hornbook;

namespace {

struct Block {
  unsigned char* data;
  size_t bytes;
  unsigned char mark;
};

void check(bool good, const char* what) {
  if (good) return;
  std::printf("%s\n", what);
  std::exit(1);
}

// The ends are marked: a block that overlaps another finds its marks changed.
void give(Memory& memory, const Block& block) {
  check(block.data[0] == block.mark && block.data[block.bytes - 1] == block.mark, "two blocks overlap");
  memory.free(block.data, block.bytes);
}

Block take(Memory& memory, size_t bytes, unsigned char mark) {
  auto* data = static_cast<unsigned char*>(memory.allocate(bytes));
  check(reinterpret_cast<uintptr_t>(data) % 64 == 0, "a block is not aligned");
  data[0] = data[bytes - 1] = mark;
  return {data, bytes, mark};
}

void anyOrder(std::mt19937& random) {
  Memory memory;
  std::vector<Block> blocks;
  for (int i = 0; i < 4000; i++) {
    if (!blocks.empty() && random() % 2 == 0) {
      std::swap(blocks[random() % blocks.size()], blocks.back());
      give(memory, blocks.back());
      blocks.pop_back();
    } else {
      blocks.push_back(take(memory, 1 + random() % (size_t{1} << random() % 24), static_cast<unsigned char>(random())));
    }
    size_t asked = 0;
    for (const Block& block : blocks) asked += block.bytes;
    check(memory.live() >= asked && memory.live() <= memory.held(), "the count of live bytes is wrong");
  }
  for (const Block& block : blocks) give(memory, block);
  check(memory.live() == 0, "bytes are live after everything was freed");
}

void steps(std::mt19937& random) {
  Memory memory;
  std::vector<size_t> sizes(200);
  for (size_t& size : sizes) size = 1 + random() % (size_t{4} << 20);
  size_t first = 0;
  for (int step = 0; step < 20; step++) {
    std::vector<Block> blocks;
    for (const size_t size : sizes) blocks.push_back(take(memory, size, static_cast<unsigned char>(step)));
    if (step == 0) first = memory.held();
    check(memory.held() == first, "a later step holds more than the first");
    std::shuffle(blocks.begin(), blocks.end(), random);
    for (const Block& block : blocks) give(memory, block);
  }
}

}  // namespace

int main() {
  std::mt19937 random(1);
  anyOrder(random);
  steps(random);
  std::printf("memory: good\n");
}
