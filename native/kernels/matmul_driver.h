// How a product is cut into packing and computing, for any engine (VectorEngine or AmxEngine).
//
// A task computes some rows of c by some panels of b (engine.columns wide), one part of k after the other: parts are short enough that what a tile
// reads again and again stays in the second-level cache. What all tasks read, the panels of b, is packed first, by all threads together, as much as
// the third-level cache holds. What only one task reads it packs for itself, into its own second-level cache: the rows of a where they cannot be read
// as they lie, and, where the rows are few, the panels of b.
//
// A Plan is a function of the shape alone.
#pragma once

#include "matmul_finish.h"
#include "matmul_pack.h"

namespace hornbook::gemm {

constexpr int64_t blockWords = 96 << 10;    // of b, in the second-level cache while rows pass
constexpr int64_t taskWords = 64 << 10;     // of a, where a task packs it, likewise
constexpr int64_t sharedWords = 2 << 20;    // of b, packed at a time
constexpr int64_t lowRows = 128;            // up to here panels are packed where they are used,
constexpr int64_t lowRowsAlongK = 256;      // or here, where that reads memory in one go,
constexpr int64_t lowBlocks = 8;            // if that makes tasks enough
constexpr int64_t taskProducts = 1 << 20;   // multiplications worth a task
constexpr int64_t mostTasks = 128;
constexpr int64_t fewTasks = 12;            // keep every thread busy to the end
constexpr int64_t packedSteps = 256;        // a packing task's, where lines are contiguous,
constexpr int64_t packedLines = 256;
constexpr int64_t packedRows = 32;          // or steps are: rows of memory as long as they are

template <class Engine>
struct Plan {
  bool packsA;
  bool packsLastA;       // only the last part of k, which ends within a word
  bool packsInTask;      // b
  bool needsPartial;
  int64_t steps;         // of a part of k, the last perhaps shorter
  int64_t parts;         // of k
  int64_t panels;        // of n
  int64_t sharedPanels;  // packed at a time,
  int64_t sharedParts;   // for so many parts of k
  int64_t blockPanels;   // a task's
  int64_t taskRows;

  explicit Plan(const Product& p) {
    constexpr int each = perWord<Engine::words>;
    const Parts cut(p.k(), each, Engine::stepMultiple);
    packsA = p.k() == 0 || !Engine::readsDirectly(p.a);  // an empty sum reads the zeros of packing
    packsLastA = p.k() % (each * Engine::stepMultiple) != 0;
    parts = cut.count;
    steps = cut.steps;
    needsPartial = parts > 1 && !waitsInC(p.out);

    panels = ceilDiv(p.n(), Engine::columns);
    blockPanels = evenly(panels, most(1, blockWords / panelWords()));
    const bool low = p.m() <= (p.b.kStride == 1 ? lowRowsAlongK : lowRows);
    if (low) blockPanels = least(blockPanels, most(1, panels / (4 * lowBlocks)));
    packsInTask = low && !packsA && ceilDiv(panels, blockPanels) >= lowBlocks;
    sharedPanels = packsInTask ? panels : evenly(panels, most(1, sharedWords / panelWords()));
    sharedParts = packsInTask ? parts : evenly(parts, most(1, sharedWords / (sharedPanels * panelWords())));

    const int64_t groups = ceilDiv(p.m(), Engine::group);
    const int64_t products = p.m() * sharedPanels * Engine::columns * least(p.k(), sharedParts * steps * each);
    const int64_t tasks = least(most(1, products / taskProducts), mostTasks);
    int64_t cuts;
    if (packsA) {
      // Cut along the rows first: tasks that share rows would each pack them.
      const int64_t wanted = least(tasks, fewTasks);
      cuts = least(groups, most(wanted, ceilDiv(groups, most(1, taskWords / groupWords()))));
      blockPanels = ceilDiv(sharedPanels, least(sharedPanels, ceilDiv(wanted, cuts)));
    } else {
      blockPanels = least(blockPanels, sharedPanels);
      cuts = packsInTask ? 1 : least(ceilDiv(tasks, ceilDiv(sharedPanels, blockPanels)), groups);
    }
    taskRows = ceilDiv(groups, cuts) * Engine::group;
  }

  // The largest size up to `limit` whose multiples divide `count` about evenly.
  static int64_t evenly(int64_t count, int64_t limit) { return ceilDiv(count, ceilDiv(count, limit)); }

  int64_t panelWords() const { return Engine::columns * steps; }
  int64_t groupWords() const { return Engine::group * steps; }
  int64_t sharedWordsOfB() const { return packsInTask ? 0 : roundUp(sharedPanels * sharedParts * panelWords(), 16); }
  int64_t laneWordsOfB() const { return packsInTask ? roundUp(blockPanels * panelWords(), 16) : 0; }
  int64_t laneWordsOfA() const { return packsA || packsLastA ? roundUp(taskRows * steps, 16) : 0; }
  int64_t partialWords(const Product& p) const { return needsPartial ? roundUp(p.m() * p.n(), 16) : 0; }

  int64_t words(const Product& p, int lanes) const { return sharedWordsOfB() + partialWords(p) + lanes * (laneWordsOfB() + laneWordsOfA()); }
};

// Packs `lines` lines of an operand, `width` at a time, from `first` on: pack(i, step, length) writes one such set. Where steps are rows of memory
// they are read a few at a time across all sets, so that a row is read in one go; where lines are, one set after the other.
template <class Pack>
HORNBOOK_INLINE void packSets(bool alongK, int64_t sets, int64_t begin, int64_t end, int64_t stepMultiple, Pack pack) {
  const int64_t stride = alongK ? end - begin : roundUp(cachedSteps, stepMultiple);
  for (int64_t s = begin; s < end; s += stride) {
    for (int64_t i = 0; i < sets; i++) pack(i, s, least(stride, end - s));
  }
}

// Computes one product. `parallel(tasks, body)` runs body(task, lane) for each; `memory` has plan.words(p, lanes) words, 64-byte aligned.
template <class Engine, class Parallel>
void multiply(const Plan<Engine>& plan, const Product& p, uint32_t* memory, Parallel parallel) {
  constexpr Words words = Engine::words;
  constexpr int each = perWord<words>;
  constexpr int64_t columns = Engine::columns;
  const int64_t allSteps = roundUp(ceilDiv(most(p.k(), 1), each), Engine::stepMultiple);
  float* const partial = plan.needsPartial ? reinterpret_cast<float*>(memory) : nullptr;
  uint32_t* const packedB = memory + plan.partialWords(p);
  uint32_t* const lanesMemory = packedB + plan.sharedWordsOfB();
  const int64_t laneWords = plan.laneWordsOfB() + plan.laneWordsOfA();

  const auto panelWidth = [&](int64_t panel) { return least(columns, roundUp(p.n() - panel * columns, W)); };
  for (int64_t panel0 = 0; panel0 < plan.panels; panel0 += plan.sharedPanels) {
    const int64_t panels = least(plan.sharedPanels, plan.panels - panel0);
    for (int64_t part0 = 0; part0 < plan.parts; part0 += plan.sharedParts) {
      const int64_t step0 = part0 * plan.steps;
      const int64_t sharedSteps = least(plan.sharedParts * plan.steps, allSteps - step0);

      // Pack what all tasks read. A packing task takes a stretch of steps and several panels.
      if (!plan.packsInTask) {
        const bool alongK = p.b.kStride == 1;
        const int64_t inTask = alongK ? most(1, packedLines / columns) : panels, stepsInTask = alongK ? packedSteps : packedRows;
        const int64_t stretches = ceilDiv(sharedSteps, stepsInTask);
        parallel(ceilDiv(panels, inTask) * stretches, [&](int64_t task, int) {
          const int64_t firstPanel = task / stretches * inTask, begin = task % stretches * stepsInTask;
          packSets(alongK, least(inTask, panels - firstPanel), begin, least(begin + stepsInTask, sharedSteps), 1, [&](int64_t i, int64_t s, int64_t length) {
            const int64_t panel = panel0 + firstPanel + i, width = panelWidth(panel);
            packLines<words>(p.b, panel * columns, (step0 + s) * each, width, length, packedB + (firstPanel + i) * columns * sharedSteps + s * width);
          });
        });
      }

      // Compute. Tasks that follow each other share panels of b.
      const int64_t cuts = ceilDiv(p.m(), plan.taskRows);
      parallel(ceilDiv(panels, plan.blockPanels) * cuts, [&](int64_t task, int lane) {
        const int64_t firstPanel = task / cuts * plan.blockPanels, lastPanel = least(firstPanel + plan.blockPanels, panels);
        const int64_t firstRow = task % cuts * plan.taskRows, lastRow = least(firstRow + plan.taskRows, p.m());
        uint32_t* const laneB = lanesMemory + lane * laneWords;
        uint32_t* const laneA = laneB + plan.laneWordsOfB();
        typename Engine::Session session;
        alignas(64) float tile[Engine::rows * Engine::columns];
        for (int64_t step = 0; step < sharedSteps; step += plan.steps) {
          const int64_t steps = least(plan.steps, sharedSteps - step), firstK = (step0 + step) * each;
          const Part part = {step0 + step == 0, step0 + step + steps == allSteps, partial, p.out.transposed ? p.m() : p.n()};
          const Finish finish = finishFor<Engine::rows, Engine::columns>(p.out, part);
          if (plan.packsInTask) {
            for (int64_t i = firstPanel; i < lastPanel; i++) {
              packLines<words>(p.b, (panel0 + i) * columns, firstK, panelWidth(panel0 + i), steps, laneB + (i - firstPanel) * columns * steps);
            }
          }
          const bool packsA = plan.packsA || (plan.packsLastA && part.last);
          if (packsA) {
            packSets(p.a.kStride == 1, ceilDiv(lastRow - firstRow, Engine::group), 0, steps, Engine::stepMultiple, [&](int64_t i, int64_t s, int64_t length) {
              Engine::packGroup(p.a, firstRow + i * Engine::group, firstK + s * each, length, laneA + (i * steps + s) * Engine::group);
            });
          }
          const int64_t stretches = (lastPanel - firstPanel) * ceilDiv(steps, stretchSteps);  // of a strip of rows
          Coming coming;
          const auto compute = [&](int64_t row, int64_t i) {
            const int64_t panel = panel0 + i, width = least(columns, p.n() - panel * columns), height = least(Engine::rows, lastRow - row);
            const Destination destination = p.out.transposed ? Destination() : destinationOf(p.out, part, row, panel * columns, width);
            const uint32_t* b = plan.packsInTask ? laneB + (i - firstPanel) * columns * steps : packedB + i * columns * sharedSteps + step * panelWidth(panel);
            if (packsA) {
              const int64_t at = row - firstRow;
              const char* a = reinterpret_cast<const char*>(laneA + at / Engine::group * Engine::group * steps) + at % Engine::group * Engine::packedRowStride;
              Engine::compute(session, height, ceilDiv(width, W), a, Engine::packedRowStride, Engine::packedStepStride, b, steps, tile, destination, coming);
            } else {
              const char* a = reinterpret_cast<const char*>(p.a.at<Element<words>>(row, firstK));
              const int64_t rowStride = p.a.lineStride * static_cast<int64_t>(sizeof(Element<words>));
              Engine::compute(session, height, ceilDiv(width, W), a, rowStride, Engine::directStepStride, b, steps, tile, destination, coming);
            }
            if (p.out.transposed) {
              alignas(64) float across[columns * Engine::rows + W];  // the last row is read as whole vectors, too
              for (int64_t j = 0; j < width; j++)
                for (int64_t r = 0; r < height; r++) across[j * Engine::rows + r] = tile[r * columns + j];
              finish(p.out, part, across, Engine::rows, panel * columns, row, width, height);
            } else {
              finish(p.out, part, tile, columns, row, panel * columns, height, width);
            }
          };
          // Of the two operands the one that is near, in the second-level cache, is gone through inside.
          if (packsA) {
            // The next task's rows, as far as they lie in rows of memory.
            const int64_t next = lastRow < p.m() ? lastRow : 0;
            if (p.a.lineStride == 1 && task + 1 < ceilDiv(panels, plan.blockPanels) * cuts) {
              constexpr int64_t bytes = sizeof(Element<words>);
              const Rows rows = {reinterpret_cast<const char*>(p.a.at<Element<words>>(next, firstK)), p.a.kStride * bytes, least(plan.taskRows, p.m() - next) * bytes};
              coming = Coming(rows, least(steps * each, p.k() - firstK), stretches * ceilDiv(lastRow - firstRow, Engine::rows));
            }
            for (int64_t i = firstPanel; i < lastPanel; i++) {
              for (int64_t row = firstRow; row < lastRow; row += Engine::rows) compute(row, i);
            }
          } else {
            for (int64_t row = firstRow; row < lastRow; row += Engine::rows) {
              // The rows after these; a next task's, too.
              const int64_t next = row + Engine::rows;
              if (next < p.m()) {
                constexpr int64_t bytes = sizeof(Element<words>);
                const Rows rows = {reinterpret_cast<const char*>(p.a.at<Element<words>>(next, firstK)), p.a.lineStride * bytes, steps * each * bytes};
                coming = Coming(rows, least(Engine::rows, p.m() - next), stretches);
              }
              for (int64_t i = firstPanel; i < lastPanel; i++) compute(row, i);
            }
          }
        }
      });
    }
  }
}

}  // namespace hornbook::gemm
