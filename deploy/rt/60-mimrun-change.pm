# The life of a change in Request Tracker 5: what it can be, and who moves it on. deploy/rt/README.md says where it goes.
#
# Every way into "approved" and into "rejected" needs the right ApproveChange, which mimrun's own account is not given.
# The word "change" is the lifecycle's name; what the states mean to mimrun is in its connectors/change/request_tracker.py.
Set(%Lifecycles, change => {
    initial  => ['draft'],
    active   => [ 'submitted', 'approved', 'implementing' ],
    inactive => [ 'done', 'failed', 'rejected', 'cancelled' ],
    defaults => { on_create => 'draft' },
    transitions => {
        ''           => [qw(draft submitted)],
        draft        => [qw(submitted cancelled)],
        submitted    => [qw(draft approved rejected cancelled)],
        # Whoever changes what was approved takes it back to draft first.
        approved     => [qw(draft implementing rejected cancelled)],
        implementing => [qw(done failed)],
        done         => [],
        failed       => [qw(draft)],
        rejected     => [qw(draft)],
        cancelled    => [qw(draft)],
    },
    rights => {
        '* -> approved' => 'ApproveChange',
        '* -> rejected' => 'ApproveChange',
    },
    actions => [
        'draft -> submitted'       => { label => 'Ask for approval' },
        'submitted -> approved'    => { label => 'Approve', update => 'Comment' },
        'submitted -> rejected'    => { label => 'Reject', update => 'Comment' },
        'submitted -> cancelled'   => { label => 'Cancel', update => 'Comment' },
        'approved -> rejected'     => { label => 'Take the approval back', update => 'Comment' },
    ],
});
1;
