// How a product is cut into packing and computing, for any engine (VectorEngine or AmxEngine).
//
// k is cut so that a packed panel of b (engine.columns wide) stays in the second-level cache; n, and m where a is packed too, so that all that is
// packed at a time stays in the third. Within such a part, packing and computing are phases, each a set of tasks that any thread takes: a
// panel is packed once and read by all. Only a low product (few rows) packs the panels inside the task that uses them, for nobody else does.
//
// A Plan is a function of the shape alone.
#pragma once

#include "matmul_finish.h"
#include "matmul_pack.h"

namespace inkling::gemm {

constexpr int64_t longestPanel = 2048;               // steps
constexpr int64_t shortPanel = 512;                  // where a is packed and partial sums wait in c: then both strips are near
constexpr int64_t blockWords = 96 << 10;             // of b, in the second-level cache while rows pass
constexpr int64_t sharedWords = 2 << 20;             // packed at a time, of b, and of a
constexpr int64_t lowRows = 128;                     // up to here panels are packed where they are used,
constexpr int64_t lowBlocks = 8;                     // if that makes tasks enough
constexpr int64_t taskProducts = 1 << 20;            // multiplications worth a task
constexpr int64_t mostTasks = 128;
constexpr int64_t packedSteps = 256;                 // a packing task's
constexpr int64_t packedLines = 128;
constexpr int64_t cachedSteps = 32;                  // packed at a time where steps are rows of memory

template <class Engine>
constexpr int64_t panelsInTask = most(1, packedLines / Engine::columns);
template <class Engine>
constexpr int64_t groupsInTask = most(1, packedLines / Engine::group);

template <class Engine>
struct Plan {
  bool packsA;
  bool packsLastA;       // only the last part of k, which ends within a word
  bool packsInTask;
  bool needsPartial;
  int64_t steps;         // of a part of k, the last perhaps shorter
  int64_t parts;         // of k
  int64_t panels;        // of n
  int64_t sharedPanels;  // packed at a time
  int64_t sharedRows;    // likewise
  int64_t blockPanels;   // computed with at a time
  int64_t taskRows;

  explicit Plan(const Product& p) {
    constexpr int each = perWord<Engine::words>;
    const int64_t allSteps = roundUp(ceilDiv(most(p.k(), 1), each), Engine::stepMultiple);
    packsA = p.k() == 0 || !Engine::readsDirectly(p.a);  // an empty sum reads the zeros of packing
    packsLastA = p.k() % (each * Engine::stepMultiple) != 0;
    parts = ceilDiv(allSteps, packsA && waitsInC(p.out) ? shortPanel : longestPanel);
    steps = roundUp(ceilDiv(allSteps, parts), most(Engine::stepMultiple, 16));
    steps = least(steps, allSteps);
    parts = ceilDiv(allSteps, steps);
    needsPartial = parts > 1 && !waitsInC(p.out);

    const int64_t panelWords = Engine::columns * steps;
    panels = ceilDiv(p.n(), Engine::columns);
    sharedPanels = evenly(panels, most(1, sharedWords / panelWords));
    blockPanels = evenly(sharedPanels, most(1, blockWords / panelWords));
    if (p.m() <= lowRows) blockPanels = least(blockPanels, most(1, sharedPanels / (4 * lowBlocks)));
    const int64_t groups = ceilDiv(p.m(), Engine::group);
    const int64_t sharedGroups = packsA || packsLastA ? evenly(groups, most(1, sharedWords / (Engine::group * steps))) : groups;
    sharedRows = sharedGroups * Engine::group;

    const int64_t blocks = ceilDiv(sharedPanels, blockPanels);
    packsInTask = p.m() <= lowRows && blocks >= lowBlocks;
    const int64_t products = sharedRows * sharedPanels * Engine::columns * steps * each;
    const int64_t tasks = least(most(1, products / taskProducts), mostTasks);
    const int64_t cuts = packsInTask ? 1 : least(ceilDiv(tasks, blocks), sharedGroups);
    taskRows = ceilDiv(sharedGroups, cuts) * Engine::group;
  }

  // The largest size up to `limit` whose multiples divide `count` about evenly.
  static int64_t evenly(int64_t count, int64_t limit) { return ceilDiv(count, ceilDiv(count, limit)); }

  int64_t panelWords() const { return Engine::columns * steps; }
  int64_t groupWords() const { return Engine::group * steps; }
  int64_t laneWords() const { return packsInTask ? roundUp(blockPanels * panelWords(), 16) : 0; }

  int64_t words(const Product& p, int lanes) const {
    const int64_t b = packsInTask ? lanes * laneWords() : sharedPanels * panelWords();
    const int64_t a = packsA || packsLastA ? ceilDiv(sharedRows, Engine::group) * groupWords() : 0;
    const int64_t partial = needsPartial ? p.m() * p.n() : 0;
    return roundUp(b, 16) + roundUp(a, 16) + roundUp(partial, 16);
  }
};

// Computes one product. `parallel(tasks, body)` runs body(task, lane) for each; `memory` has plan.words(p, lanes) words, 64-byte aligned.
template <class Engine, class Parallel>
void multiply(const Plan<Engine>& plan, const Product& p, uint32_t* memory, int lanes, Parallel parallel) {
  constexpr Words words = Engine::words;
  constexpr int each = perWord<words>;
  constexpr int64_t columns = Engine::columns;
  uint32_t* const packedB = memory;
  uint32_t* const packedA = packedB + roundUp(plan.packsInTask ? lanes * plan.laneWords() : plan.sharedPanels * plan.panelWords(), 16);
  uint32_t* const partial = packedA + roundUp(plan.packsA || plan.packsLastA ? ceilDiv(plan.sharedRows, Engine::group) * plan.groupWords() : 0, 16);

  for (int64_t panel0 = 0; panel0 < plan.panels; panel0 += plan.sharedPanels) {
    const int64_t panels = least(plan.sharedPanels, plan.panels - panel0);
    for (int64_t partOfK = 0; partOfK < plan.parts; partOfK++) {
      const int64_t firstK = partOfK * plan.steps * each;
      const int64_t steps = least(plan.steps, roundUp(ceilDiv(most(p.k() - firstK, 1), each), Engine::stepMultiple));
      const Part part = {partOfK == 0, partOfK == plan.parts - 1, plan.needsPartial ? reinterpret_cast<float*>(partial) : nullptr, p.n()};
      const Finish finish = finishFor(p.out, part);

      const auto panelWidth = [&](int64_t panel) { return least(columns, roundUp(p.n() - panel * columns, W)); };
      const auto packPanel = [&](int64_t panel, int64_t step, int64_t length, uint32_t* out) {
        packLines<words>(p.b, panel * columns, firstK + step * each, panelWidth(panel), length, out + step * panelWidth(panel));
      };

      for (int64_t row0 = 0; row0 < p.m(); row0 += plan.sharedRows) {
        const int64_t rows = least(plan.sharedRows, p.m() - row0);

        // Pack: the panels of b when the rows begin, the groups of a always. A task takes a stretch of steps and several panels or groups, so that it
        // reads memory that is contiguous along n or m in long rows.
        const bool packsA = plan.packsA || (plan.packsLastA && part.last);
        const int64_t panelsToPack = plan.packsInTask || row0 > 0 ? 0 : panels;
        const int64_t groupsToPack = packsA ? ceilDiv(rows, Engine::group) : 0;
        if (panelsToPack + groupsToPack > 0) {
          const int64_t stretches = ceilDiv(steps, packedSteps);
          const int64_t panelTasks = ceilDiv(panelsToPack, panelsInTask<Engine>) * stretches;
          const int64_t groupTasks = ceilDiv(groupsToPack, groupsInTask<Engine>) * stretches;
          parallel(panelTasks + groupTasks, [&](int64_t task, int) {
            const bool ofB = task < panelTasks;
            const int64_t set = (ofB ? task : task - panelTasks) / stretches;
            const int64_t begin = (ofB ? task : task - panelTasks) % stretches * packedSteps;
            const int64_t end = least(begin + packedSteps, steps);
            const int64_t stride = (ofB ? p.b : p.a).kStride == 1 ? packedSteps : cachedSteps;
            for (int64_t s = begin; s < end; s += stride) {
              const int64_t length = least(stride, end - s);
              if (ofB) {
                for (int64_t i = set * panelsInTask<Engine>; i < least((set + 1) * panelsInTask<Engine>, panels); i++) {
                  packPanel(panel0 + i, s, length, packedB + i * columns * steps);
                }
              } else {
                for (int64_t i = set * groupsInTask<Engine>; i < least((set + 1) * groupsInTask<Engine>, groupsToPack); i++) {
                  Engine::packGroup(p.a, row0 + i * Engine::group, firstK + s * each, length, packedA + (i * steps + s) * Engine::group);
                }
              }
            }
          });
        }

        // Compute. Tasks that follow each other share a block of b.
        const int64_t blocks = ceilDiv(panels, plan.blockPanels);
        const int64_t cuts = ceilDiv(rows, plan.taskRows);
        parallel(blocks * cuts, [&](int64_t task, int lane) {
          const int64_t firstPanel = task / cuts * plan.blockPanels;
          const int64_t lastPanel = least(firstPanel + plan.blockPanels, panels);
          const int64_t firstRow = task % cuts * plan.taskRows;
          const int64_t lastRow = least(firstRow + plan.taskRows, rows);
          const uint32_t* block = packedB + firstPanel * columns * steps;
          if (plan.packsInTask) {
            uint32_t* mine = packedB + lane * plan.laneWords();
            for (int64_t i = firstPanel; i < lastPanel; i++) packPanel(panel0 + i, 0, steps, mine + (i - firstPanel) * columns * steps);
            block = mine;
          }
          typename Engine::Session session;
          alignas(64) float tile[Engine::rows * Engine::columns];
          for (int64_t row = firstRow; row < lastRow; row += Engine::rows) {
            const int64_t height = least(Engine::rows, lastRow - row);
            const char* a;
            if (packsA) {
              a = reinterpret_cast<const char*>(packedA + row / Engine::group * Engine::group * steps) + row % Engine::group * Engine::packedRowStride;
            } else {
              a = reinterpret_cast<const char*>(p.a.at<Element<words>>(row0 + row, firstK));
            }
            const int64_t rowStride = packsA ? Engine::packedRowStride : p.a.lineStride * static_cast<int64_t>(sizeof(Element<words>));
            const int64_t stepStride = packsA ? Engine::packedStepStride : Engine::directStepStride;
            for (int64_t i = firstPanel; i < lastPanel; i++) {
              const int64_t panel = panel0 + i;
              const int64_t width = least(columns, p.n() - panel * columns);
              Engine::compute(session, height, ceilDiv(width, W), a, rowStride, stepStride, block + (i - firstPanel) * columns * steps, steps, tile);
              finish(p.out, part, tile, columns, row0 + row, panel * columns, height, width);
            }
          }
        });
      }
    }
  }
}

}  // namespace inkling::gemm
