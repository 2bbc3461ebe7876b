# Makes the lab's people in its own Request Tracker, and a token for each: `perl THIS GROUP=NAME[,NAME...]...`.
# A name without a group belongs to none. It prints a line for each: the name and the token.
use strict;
use warnings;
use lib '/usr/share/request-tracker5/lib';
use RT -init;
use RT::AuthToken;

my $as = RT->SystemUser;
# RT's own administrator comes with a password that everybody knows.
my $root = RT::User->new($as);
$root->Load('root');
my ( $set, $said ) = $root->SetDisabled(1);
die "root: $said\n" unless $set;

for my $argument (@ARGV) {
    my ( $group, $names ) = $argument =~ /^(?:(.*)=)?(.*)$/;
    for my $name ( split /,/, $names ) {
        my $user = RT::User->new($as);
        $user->Load($name);
        if ( !$user->Id ) {
            my ( $ok, $why ) = $user->Create(
                Name => $name, EmailAddress => "$name\@lab.invalid", Privileged => 1, Timezone => 'UTC', Lang => 'en' );
            die "$name: $why\n" unless $ok;
        }
        if ( defined $group ) {
            my $members = RT::Group->new($as);
            $members->LoadUserDefinedGroup($group);
            my ( $ok, $why ) = $members->AddMember( $user->PrincipalId );
            die "$name in $group: $why\n" unless $ok;
        }
        my ( $ok, $why, $token ) = RT::AuthToken->new($as)->Create( Owner => $user->Id, Description => 'lab' );
        die "$name: $why\n" unless $ok;
        print "$name $token\n";
    }
}
