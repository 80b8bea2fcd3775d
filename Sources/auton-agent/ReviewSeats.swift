import AutonAgents
import AutonCommand
import AutonKit
import AutonMessages
import AutonSettings

extension Agent {
    /// Reviews once there are fewer reviews at work than the settings allow.
    func reviewInTurn(_ task: TaskMessage) async throws -> Review {
        let team = options.settings.team
        // As many as there are tasks at work: nobody can be kept waiting.
        guard let seats = team.reviewers, seats < team.developers else { return try await review(task) }
        let seat = try await seat(of: seats)
        defer { seat.release() }
        return try await review(task)
    }

    private func seat(of count: Int) async throws -> FileLock {
        while true {
            for number in 1...count {
                if let seat = try workspace.lock("review-\(number)") { return seat }
            }
            try await Task.sleep(for: .milliseconds(100))
        }
    }
}
