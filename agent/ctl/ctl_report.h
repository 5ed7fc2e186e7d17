// What `check` found: sections of items, each with its state and, where something is wrong, what to
// do about it.
#ifndef LANDGATE_AGENT_CTL_CTL_REPORT_H_
#define LANDGATE_AGENT_CTL_CTL_REPORT_H_

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "policy/json_reader.h"

namespace landgate::ctl {

enum class State {
  kOk,
  kInfo,           // a fact, neither good nor bad
  kWarning,        // works, with a restriction that the detail names
  kMisconfigured,  // somebody has to mend a file: exit status 1
  kMissing,        // a floor needs it and it is not here: exit status 3
};

struct Item {
  std::string id;  // stable, for programs: "landlock", "runtime.runc.listener"
  std::string title;
  State state = State::kInfo;
  std::string detail;
  std::string remedy;  // what to do; empty where nothing is wrong
  policy::Json data;   // further facts for programs; null: none
};

struct Section {
  std::string title;
  std::vector<Item> items;
};

using Report = std::vector<Section>;

// kImpossible where something is missing, else kRefused where something is misconfigured.
ExitStatus StatusOf(const Report& report);

void PrintReport(const Report& report);
policy::Json ReportJson(const Report& report);

// The parts of `check`. They run programs and fork; call from a single-threaded process.
Section CheckKernel();
Section CheckSurroundings();

}  // namespace landgate::ctl

#endif  // LANDGATE_AGENT_CTL_CTL_REPORT_H_
