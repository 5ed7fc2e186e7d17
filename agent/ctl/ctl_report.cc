#include "agent/ctl/ctl_report.h"

#include <unistd.h>

#include "agent/ctl/ctl_output.h"
#include "base/printable.h"

namespace landgate::ctl {
namespace {

struct Look {
  const char* name;  // in JSON
  const char* sign;
  Colour colour;
};

Look LookOf(State state) {
  switch (state) {
    case State::kOk:
      return {"ok", "✓", Colour::kGreen};
    case State::kInfo:
      return {"info", "·", Colour::kNone};
    case State::kWarning:
      return {"warning", "!", Colour::kYellow};
    case State::kMisconfigured:
      return {"misconfigured", "✗", Colour::kRed};
    case State::kMissing:
      break;
  }
  return {"missing", "✗", Colour::kRed};
}

}  // namespace

ExitStatus StatusOf(const Report& report) {
  ExitStatus status = ExitStatus::kDone;
  for (const Section& section : report) {
    for (const Item& item : section.items) {
      if (item.state == State::kMissing) return ExitStatus::kImpossible;
      if (item.state == State::kMisconfigured) status = ExitStatus::kRefused;
    }
  }
  return status;
}

void PrintReport(const Report& report) {
  std::string text;
  for (const Section& section : report) {
    text += Coloured(STDOUT_FILENO, Colour::kBold, section.title) + "\n";
    for (const Item& item : section.items) {
      const Look look = LookOf(item.state);
      text += "  " + Coloured(STDOUT_FILENO, look.colour, look.sign) + " " + Printable(item.title);
      if (!item.detail.empty()) text += ": " + Printable(item.detail);
      text += "\n";
      if (!item.remedy.empty()) text += "      → " + Printable(item.remedy) + "\n";
    }
    text += "\n";
  }
  switch (StatusOf(report)) {
    case ExitStatus::kDone:
      text += "Containers can run under a policy here.\n";
      break;
    case ExitStatus::kImpossible:
      text += "Something that a policy needs is missing here; see ✗ above.\n";
      break;
    case ExitStatus::kRefused:
    case ExitStatus::kUsage:
      text += "The configuration needs mending; see ✗ above.\n";
      break;
  }
  Print(text);
}

policy::Json ReportJson(const Report& report) {
  Json sections = Json::array();
  for (const Section& section : report) {
    Json items = Json::array();
    for (const Item& item : section.items) {
      Json value = {{"id", item.id},
                    {"title", item.title},
                    {"state", LookOf(item.state).name},
                    {"detail", item.detail}};
      if (!item.remedy.empty()) value["remedy"] = item.remedy;
      if (!item.data.is_null()) value["data"] = item.data;
      items.push_back(std::move(value));
    }
    sections.push_back({{"title", section.title}, {"items", std::move(items)}});
  }
  const ExitStatus status = StatusOf(report);
  return {{"version", LANDGATE_VERSION},
          {"ok", status == ExitStatus::kDone},
          {"exitStatus", static_cast<int>(status)},
          {"sections", std::move(sections)}};
}

}  // namespace landgate::ctl
