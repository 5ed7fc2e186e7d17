#include "agent/handlers/phases.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <string>
#include <vector>

namespace landgate::agent {
namespace {

using policy::ExecSessions;

Seen Main(Phase phase, Request request, bool own, bool launcher) {
  return {ListenerKind::kMain, ExecSessions::kConfined, phase, request, true, own, launcher, false};
}
Seen Session(Phase phase, Request request, bool own, bool launcher, bool kept) {
  return {
      ListenerKind::kSession, ExecSessions::kConfined, phase, request, true, own, launcher, kept};
}
Act ActOn(const Seen& seen) { return Decide(seen).act; }

TEST(Phases, TheMainListenersWay) {
  // The runtime, a hook's program, the launcher's question, the launcher's execve, the workload.
  EXPECT_EQ(ActOn(Main(Phase::kRuntime, Request::kExecve, true, false)), Act::kContinueTrusted);
  EXPECT_EQ(ActOn(Main(Phase::kRuntime, Request::kExecveat, false, false)), Act::kContinueTrusted);
  EXPECT_EQ(ActOn(Main(Phase::kRuntime, Request::kMarker, true, false)), Act::kNotImplemented);
  const Step asks = Decide(Main(Phase::kRuntime, Request::kMarker, true, true));
  EXPECT_EQ(asks.act, Act::kNotImplemented);
  EXPECT_EQ(asks.next, Phase::kLauncher);
  const Step becomes = Decide(Main(Phase::kLauncher, Request::kExecve, true, true));
  EXPECT_EQ(becomes.act, Act::kContinueTrusted);
  EXPECT_EQ(becomes.next, Phase::kWorkload);
  EXPECT_EQ(ActOn(Main(Phase::kWorkload, Request::kExecve, true, false)), Act::kContinueFloor);
  EXPECT_EQ(ActOn(Main(Phase::kWorkload, Request::kMarker, true, true)), Act::kNotImplemented);
  EXPECT_EQ(ActOn(Main(Phase::kLauncher, Request::kExecve, true, false)), Act::kDenyAndKill);
}

TEST(Phases, AnExecSessionsWay) {
  EXPECT_EQ(ActOn(Session(Phase::kRuntime, Request::kExecve, true, false, false)), Act::kTurn);
  EXPECT_EQ(ActOn(Session(Phase::kRuntime, Request::kExecve, true, false, true)), Act::kTurn);
  const Step asks = Decide(Session(Phase::kRuntime, Request::kMarker, true, true, true));
  EXPECT_EQ(asks.act, Act::kHandOver);
  EXPECT_EQ(asks.next, Phase::kLauncher);
  const Step again = Decide(Session(Phase::kLauncher, Request::kMarker, true, true, true));
  EXPECT_EQ(again.act, Act::kNotImplemented);
  const Step becomes = Decide(Session(Phase::kLauncher, Request::kExecve, true, true, false));
  EXPECT_EQ(becomes.act, Act::kContinueTrusted);
  EXPECT_EQ(becomes.next, Phase::kWorkload);
  EXPECT_EQ(ActOn(Session(Phase::kWorkload, Request::kExecve, true, true, true)),
            Act::kContinueFloor);
  EXPECT_EQ(ActOn(Session(Phase::kWorkload, Request::kMarker, true, true, true)),
            Act::kNotImplemented);
}

TEST(Phases, WhatASessionMayNot) {
  const Step another = Decide(Session(Phase::kRuntime, Request::kExecve, false, false, false));
  EXPECT_EQ(another.act, Act::kDeny);
  EXPECT_EQ(another.error_number, EPERM);
  EXPECT_EQ(ActOn(Session(Phase::kRuntime, Request::kExecveat, true, false, false)), Act::kDeny);
  EXPECT_EQ(ActOn(Session(Phase::kRuntime, Request::kMarker, true, true, false)),
            Act::kNotImplemented);
  EXPECT_EQ(ActOn(Session(Phase::kRuntime, Request::kMarker, false, true, true)),
            Act::kNotImplemented);
  EXPECT_EQ(ActOn(Session(Phase::kLauncher, Request::kExecve, true, false, false)),
            Act::kDenyAndKill);
  Seen foreign = Session(Phase::kRuntime, Request::kExecve, true, false, false);
  foreign.native = false;
  EXPECT_EQ(ActOn(foreign), Act::kDeny);
}

TEST(Phases, WhatThePolicySaysOfSessions) {
  Seen seen = Session(Phase::kRuntime, Request::kExecve, true, false, false);
  seen.sessions = ExecSessions::kRefused;
  EXPECT_EQ(Decide(seen).act, Act::kDeny);
  EXPECT_EQ(Decide(seen).error_number, EACCES);
  seen.sessions = ExecSessions::kUnconfined;
  EXPECT_EQ(Decide(seen).act, Act::kContinueUnconfined);
  EXPECT_EQ(Decide(seen).next, Phase::kWorkload);
}

Seen Anything() {
  Seen seen;
  seen.listener = *rc::gen::element(ListenerKind::kMain, ListenerKind::kSession);
  seen.sessions =
      *rc::gen::element(ExecSessions::kConfined, ExecSessions::kRefused, ExecSessions::kUnconfined);
  seen.phase = *rc::gen::element(Phase::kRuntime, Phase::kLauncher, Phase::kWorkload);
  seen.request =
      *rc::gen::element(Request::kExecve, Request::kExecveat, Request::kMarker, Request::kOther);
  seen.native = *rc::gen::arbitrary<bool>();
  seen.own_process = *rc::gen::arbitrary<bool>();
  seen.launcher = *rc::gen::arbitrary<bool>();
  seen.kept = *rc::gen::arbitrary<bool>();
  return seen;
}

TEST(Phases, OnlyEverGrow) {
  EXPECT_TRUE(rc::check([] {
    const Seen seen = Anything();
    RC_ASSERT(Decide(seen).next >= seen.phase);
  }));
}

TEST(Phases, TheMarkerCallIsNothingToAnybodyElse) {
  EXPECT_TRUE(rc::check([] {
    Seen seen = Anything();
    seen.request = Request::kMarker;
    const Act act = Decide(seen).act;
    const bool the_launcher = seen.listener == ListenerKind::kSession &&
                              seen.sessions == ExecSessions::kConfined && seen.own_process &&
                              seen.launcher && seen.kept && seen.native &&
                              seen.phase == Phase::kRuntime;
    RC_ASSERT((act == Act::kHandOver) == the_launcher);
    RC_ASSERT(act == Act::kHandOver || act == Act::kNotImplemented || act == Act::kDenyAndKill);
  }));
}

TEST(Phases, WhatIsNotKnownIsDenied) {
  EXPECT_TRUE(rc::check([] {
    Seen seen = Anything();
    seen.request = Request::kOther;
    RC_ASSERT(Decide(seen).act == Act::kDeny);
    RC_ASSERT(Decide(seen).error_number > 0);
  }));
}

// The one that matters: whatever the order of calls, a confined session's process executes nothing
// but the launcher before the launcher has executed its own.
TEST(Phases, NothingIsExecutedUnconfined) {
  EXPECT_TRUE(rc::check([] {
    Phase phase = Phase::kRuntime;
    bool kept = false;
    int handed_over = 0;
    for (int calls = *rc::gen::inRange(0, 24); calls > 0; --calls) {
      Seen seen = Anything();
      seen.listener = ListenerKind::kSession;
      seen.sessions = ExecSessions::kConfined;
      seen.phase = phase;
      seen.kept = kept;
      const Step step = Decide(seen);
      RC_ASSERT(step.act != Act::kContinueUnconfined);
      if (phase != Phase::kWorkload) {
        RC_ASSERT(step.act != Act::kContinueFloor);
        if (step.act == Act::kContinueTrusted) {
          RC_ASSERT(seen.launcher && seen.own_process && seen.native);
          RC_ASSERT(seen.request == Request::kExecve);
          RC_ASSERT(step.next == Phase::kWorkload);
        }
      }
      if (step.act == Act::kTurn) kept = true;
      if (step.act == Act::kHandOver) {
        RC_ASSERT(++handed_over == 1);
        kept = false;
      }
      RC_ASSERT(step.next >= phase);
      phase = step.next;
    }
  }));
}

}  // namespace
}  // namespace landgate::agent
